//! A pool that works items on several threads and hands the results back in the order of the
//! input: decoding runs ahead of inference, and memory stays bounded.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam_channel::{Receiver, Sender, bounded};

/// The work function panicked on an item; the item is lost, the pool goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkPanicked;

/// Sizes of a pool.
#[derive(Debug, Clone, Copy)]
pub struct OrderedPool {
    /// Worker threads, at least 1.
    pub threads: usize,
    /// Items that may be in work or waiting to be consumed, at least 1.
    pub ahead: usize,
}

type Done<T, R> = (T, Result<R, WorkPanicked>);
type Job<T, R> = (T, Sender<Done<T, R>>);

/// Runs `work` over `inputs` on the pool's threads and gives each input and its result to
/// `consume` on the calling thread, in input order. Stops early when `consume` breaks; items
/// already in work are finished and dropped.
///
/// A panic in `work` becomes [`WorkPanicked`] for that item: one hostile photo that trips a
/// decoder must not end a batch.
pub fn in_order<T, R, I>(
    pool: OrderedPool,
    inputs: I,
    work: impl Fn(&T) -> R + Sync,
    mut consume: impl FnMut(T, Result<R, WorkPanicked>) -> ControlFlow<()>,
) where
    T: Send,
    R: Send,
    I: Iterator<Item = T> + Send,
{
    let (jobs, job_queue) = bounded::<Job<T, R>>(pool.threads.max(1));
    let (places, place_queue) = bounded::<Receiver<Done<T, R>>>(pool.ahead.max(1));
    std::thread::scope(|scope| {
        for _ in 0..pool.threads.max(1) {
            let job_queue = job_queue.clone();
            let work = &work;
            scope.spawn(move || work_off(&job_queue, work));
        }
        drop(job_queue);
        scope.spawn(move || feed(inputs, &jobs, &places));
        for place in place_queue {
            // A place whose job was never taken: the workers are gone, and so are all later ones.
            let Ok((input, result)) = place.recv() else { break };
            if consume(input, result).is_break() {
                break;
            }
        }
    });
}

fn feed<T, R>(
    inputs: impl Iterator<Item = T>,
    jobs: &Sender<Job<T, R>>,
    places: &Sender<Receiver<Done<T, R>>>,
) {
    for input in inputs {
        let (answer, place) = bounded(1);
        // Either channel closes when the consumer has stopped.
        if places.send(place).is_err() || jobs.send((input, answer)).is_err() {
            return;
        }
    }
}

fn work_off<T, R>(jobs: &Receiver<Job<T, R>>, work: &impl Fn(&T) -> R) {
    for (input, answer) in jobs {
        let result = catch_unwind(AssertUnwindSafe(|| work(&input))).map_err(|_| WorkPanicked);
        // The place is gone when the consumer has stopped; the result is then not wanted.
        let _ = answer.send((input, result));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn collect(pool: OrderedPool, items: Vec<u64>) -> Vec<u64> {
        let mut seen = Vec::new();
        let work = |item: &u64| {
            std::thread::sleep(Duration::from_micros(item % 7 * 50));
            item * 2
        };
        in_order(pool, items.into_iter(), work, |_, result| {
            seen.push(result.expect("no panic"));
            ControlFlow::Continue(())
        });
        seen
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn results_come_in_input_order(
            items in prop::collection::vec(0u64..1000, 0..60),
            threads in 1usize..5,
            ahead in 1usize..9,
        ) {
            let expected: Vec<u64> = items.iter().map(|item| item * 2).collect();
            prop_assert_eq!(collect(OrderedPool { threads, ahead }, items), expected);
        }
    }

    #[test]
    fn a_panic_costs_one_item() {
        let mut seen = Vec::new();
        let work = |item: &u32| if *item == 2 { panic!("hostile") } else { *item };
        in_order(OrderedPool { threads: 2, ahead: 4 }, 0..5u32, work, |input, result| {
            assert!(result.is_err() || result == Ok(input));
            seen.push(result);
            ControlFlow::Continue(())
        });
        assert_eq!(seen, [Ok(0), Ok(1), Err(WorkPanicked), Ok(3), Ok(4)]);
    }

    #[test]
    fn no_more_is_read_than_may_wait() {
        let read = AtomicUsize::new(0);
        let inputs = (0..1000u32).inspect(|_| {
            read.fetch_add(1, Ordering::SeqCst);
        });
        let mut taken = 0;
        in_order(
            OrderedPool { threads: 2, ahead: 4 },
            inputs,
            |item| *item,
            |_, _| {
                std::thread::sleep(Duration::from_millis(2));
                taken += 1;
                if taken == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        // 10 taken, 4 waiting in the queue, and one each in the hands of feeder and consumer.
        assert!(read.load(Ordering::SeqCst) <= 10 + 4 + 2);
    }
}
