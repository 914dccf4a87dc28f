//! Which of the waiting items make a batch.

/// Bounds of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchLimits {
    /// Items at most, at least 1.
    pub items: usize,
    /// Dearest item times items at most; one item always goes.
    pub cost: usize,
}

/// The places, ascending, of the items that make a batch: the oldest, and those whose cost is
/// closest to its own, since a batch is padded to its dearest item. Among equals the older goes.
/// Each batch holds the oldest, so nothing waits for ever.
pub(super) fn choose(costs: &[usize], limits: BatchLimits) -> Vec<usize> {
    let Some(oldest) = costs.first().copied() else { return Vec::new() };
    let mut others: Vec<usize> = (1..costs.len()).collect();
    others.sort_by_key(|place| costs[*place].abs_diff(oldest));
    let mut chosen = vec![0];
    let mut dearest = oldest;
    for place in others {
        let padded = dearest.max(costs[place]);
        if chosen.len() == limits.items || padded.saturating_mul(chosen.len() + 1) > limits.cost {
            break;
        }
        dearest = padded;
        chosen.push(place);
    }
    chosen.sort_unstable();
    chosen
}

/// Share of a batch that is padding, 0 to 1.
pub(super) fn padded_share(costs: &[usize]) -> f64 {
    let dearest = costs.iter().copied().max().unwrap_or(0);
    if dearest == 0 {
        return 0.0;
    }
    let real: usize = costs.iter().sum();
    1.0 - real as f64 / (dearest * costs.len()) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn like_lengths_go_together() {
        let limits = BatchLimits { items: 3, cost: 1000 };
        assert_eq!(choose(&[10, 77, 11, 5, 10, 76], limits), [0, 2, 4]);
    }

    #[test]
    fn equals_go_in_order() {
        assert_eq!(choose(&[4; 9], BatchLimits { items: 5, cost: 100 }), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn padding_is_what_is_not_text() {
        assert!((padded_share(&[10, 5, 5]) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(padded_share(&[7, 7]), 0.0);
    }

    proptest! {
        #[test]
        fn a_batch_keeps_its_limits_and_takes_the_oldest(
            costs in prop::collection::vec(1usize..200, 1..40),
            items in 1usize..20,
            cost in 1usize..2000,
        ) {
            let chosen = choose(&costs, BatchLimits { items, cost });
            let dearest = chosen.iter().map(|place| costs[*place]).max().unwrap_or(0);
            prop_assert_eq!(chosen[0], 0);
            prop_assert!(chosen.is_sorted_by(|left, right| left < right));
            prop_assert!(chosen.len() <= items);
            prop_assert!(chosen.len() == 1 || dearest * chosen.len() <= cost);
        }
    }
}
