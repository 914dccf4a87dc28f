//! Round numbers for axes.

/// The smallest of 1, 2, 2.5 or 5 times a power of ten that is not below `step`. One for anything
/// that is no positive number, or too small or large to have such neighbours.
pub(super) fn nice_step(step: f64) -> f64 {
    if !(1e-300..1e300).contains(&step) {
        return 1.0;
    }
    let power = 10f64.powi(step.log10().floor() as i32);
    // A hair of slack, or 0.3 / 0.1 would count as just above 3 steps.
    let multiple = [1.0, 2.0, 2.5, 5.0].into_iter().find(|m| m * power >= step * (1.0 - 1e-9));
    multiple.unwrap_or(10.0) * power
}

/// About `wanted` round values in `[low, high]`, ascending.
pub(super) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let step = nice_step((high - low) / wanted.max(1) as f64);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|index| index as f64 * step).collect()
}

/// `value` with as many decimals as steps of `step` need, for instance `0.25` or `40`.
pub(super) fn label(value: f64, step: f64) -> String {
    let decimals = (0..6usize).find(|&places| {
        let shifted = step * 10f64.powi(places as i32);
        (shifted - shifted.round()).abs() < 1e-6
    });
    let text = format!("{value:.*}", decimals.unwrap_or(6));
    // Rounding leaves "-0.0", which reads as a mistake.
    if text.trim_start_matches(['-', '0', '.']).is_empty() { text.replace('-', "") } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_are_round() {
        let steps = [0.3 / 3.0, 0.011, 1.0, 3.0, 26.0, 51.0, 0.0, f64::NAN].map(nice_step);
        let expected = [0.1, 0.02, 1.0, 5.0, 50.0, 100.0, 1.0, 1.0];
        for (step, expected) in steps.into_iter().zip(expected) {
            assert!((step - expected).abs() < 1e-12, "{step} is not {expected}");
        }
    }

    #[test]
    fn ticks_cover_the_range() {
        let labels = |low, high, step: f64| -> Vec<String> {
            ticks(low, high, 4).into_iter().map(|value| label(value, step)).collect()
        };
        assert_eq!(labels(-0.1, 0.3, 0.1), ["-0.1", "0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(0.0, 80.0, 20.0), ["0", "20", "40", "60", "80"]);
    }

    #[test]
    fn a_range_without_width_has_few_ticks() {
        assert_eq!(ticks(0.0, 0.0, 4), [0.0]);
    }

    proptest! {
        #[test]
        fn ticks_stay_inside_and_few(low in -1e3..1e3f64, width in 1e-3..1e4f64, wanted in 1usize..12) {
            let high = low + width;
            let ticks = ticks(low, high, wanted);
            prop_assert!(ticks.len() <= wanted + 1);
            for value in ticks {
                prop_assert!(value >= low - width * 1e-6 && value <= high + width * 1e-6);
            }
        }
    }
}
