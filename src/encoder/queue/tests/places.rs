//! Places are a bound, are served in order, and all come back.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use crate::encoder::queue::Origin;
use crate::encoder::queue::admission::{Full, Places, Refused, Reservation, Size};
use crate::encoder::queue::error::{QueueError, Resource};

type Wait = Pin<Box<dyn Future<Output = Result<Reservation, QueueError>>>>;

fn size(items: usize) -> Size {
    Size { items, bytes: items * 10 }
}

fn poll(wait: &mut Wait) -> Option<Reservation> {
    match wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reservation) => Some(reservation.expect("never closed")),
        Poll::Pending => None,
    }
}

fn wait(places: &std::sync::Arc<Places>, want: Size) -> Wait {
    let places = places.clone();
    Box::pin(async move { places.reserve(Origin::default(), want).await })
}

#[test]
fn all_or_none_and_the_reason_is_told() {
    let places = Places::new(Size { items: 4, bytes: 100 });
    let held = places.try_reserve(Origin::default(), Size { items: 3, bytes: 95 }).expect("free");
    let few = places.try_reserve(Origin::default(), size(2)).expect_err("one is free");
    let full = Full { what: Resource::Items, wanted: 2, free: 1, limit: 4 };
    assert_eq!(few, Refused::Full(full));
    let small = places.try_reserve(Origin::default(), size(1)).expect_err("5 bytes are free");
    let full = Full { what: Resource::Bytes, wanted: 10, free: 5, limit: 100 };
    assert_eq!(small, Refused::Full(full));
    assert_eq!(places.used(), Size { items: 3, bytes: 95 });
    let never = QueueError::TooLarge { what: Resource::Bytes, wanted: 101, limit: 100 };
    let large = places
        .try_reserve(Origin::default(), Size { items: 1, bytes: 101 })
        .expect_err("never fits");
    assert_eq!(large, Refused::Never(never));
    drop(held);
    assert_eq!(places.used(), Size::default());
}

#[test]
fn nobody_overtakes_a_large_call_that_waits() {
    let places = Places::new(size(4));
    let held = places.try_reserve(Origin::default(), size(2)).expect("free");
    let mut large = wait(&places, size(4));
    assert!(poll(&mut large).is_none());
    let mut small = wait(&places, size(1));
    assert!(poll(&mut small).is_none());
    assert!(matches!(places.try_reserve(Origin::default(), size(1)), Err(Refused::Full(_))));
    drop(held);
    let large = poll(&mut large).expect("first in queue");
    assert!(poll(&mut small).is_none());
    drop(large);
    assert!(poll(&mut small).is_some());
}

#[test]
fn a_waiter_that_goes_away_lets_the_next_in() {
    let places = Places::new(size(4));
    let _held = places.try_reserve(Origin::default(), size(2)).expect("free");
    let mut large = wait(&places, size(4));
    let mut small = wait(&places, size(1));
    assert!(poll(&mut large).is_none() && poll(&mut small).is_none());
    drop(large);
    assert!(poll(&mut small).is_some());
}

#[test]
fn the_next_heaviest_lets_go_where_the_heaviest_has_nothing_that_waits() {
    let places = Places::new(size(8));
    let of = |caller: u64| Origin { caller, connection: caller };
    let _running = places.try_reserve(of(1), size(5)).expect("free");
    let mut waiting = Some(places.try_reserve(of(2), size(3)).expect("free"));
    let mut asked = Vec::new();
    let make_room = |one: Origin| {
        asked.push(one.caller);
        one.caller == 2 && waiting.take().is_some()
    };
    let forced = places.reserve_by_force(of(3), size(1), make_room);
    assert!(forced.is_some());
    assert_eq!(asked, [1, 2]);
    // Nobody has anything that waits.
    let mut asked = Vec::new();
    let make_room = |one: Origin| {
        asked.push(one.caller);
        false
    };
    assert!(places.reserve_by_force(of(4), size(3), make_room).is_none());
    assert_eq!(asked, [1]);
}

#[test]
fn closing_fails_those_who_wait() {
    let places = Places::new(size(1));
    let _held = places.try_reserve(Origin::default(), size(1)).expect("free");
    let mut waiting = wait(&places, size(1));
    assert!(poll(&mut waiting).is_none());
    places.close();
    let answer = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(answer, Poll::Ready(Err(QueueError::Closed))));
    assert!(matches!(
        places.try_reserve(Origin::default(), size(1)),
        Err(Refused::Never(QueueError::Closed))
    ));
}

#[derive(Debug, Clone)]
enum Step {
    Try(usize),
    Wait(usize),
    DropHeld(usize),
    DropWait(usize),
    Part(usize),
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1usize..6).prop_map(Step::Try),
        (1usize..6).prop_map(Step::Wait),
        any::<usize>().prop_map(Step::DropHeld),
        any::<usize>().prop_map(Step::DropWait),
        any::<usize>().prop_map(Step::Part),
        Just(Step::Poll),
    ]
}

proptest! {
    #[test]
    fn places_are_never_exceeded_and_never_lost(steps in prop::collection::vec(step(), 0..80)) {
        let places = Places::new(size(5));
        let (mut held, mut waits) = (Vec::new(), VecDeque::new());
        for step in steps {
            match step {
                Step::Try(items) => held.extend(places.try_reserve(Origin::default(), size(items)).ok()),
                Step::Wait(items) => waits.push_back(wait(&places, size(items))),
                Step::DropHeld(at) if !held.is_empty() => drop(held.remove(at % held.len())),
                Step::DropWait(at) if !waits.is_empty() => drop(waits.remove(at % waits.len())),
                Step::Part(at) if !held.is_empty() => {
                    let at = at % held.len();
                    let part = held[at].split(size(1));
                    held.push(part);
                }
                _ => waits.retain_mut(|wait| match poll(wait) {
                    Some(reservation) => {
                        held.push(reservation);
                        false
                    }
                    None => true,
                }),
            }
            let used = places.used();
            prop_assert!(used.items <= 5 && used.bytes == used.items * 10);
        }
        drop(waits);
        drop(held);
        prop_assert_eq!(places.used(), Size::default());
        prop_assert!(places.try_reserve(Origin::default(), size(5)).is_ok());
    }
}
