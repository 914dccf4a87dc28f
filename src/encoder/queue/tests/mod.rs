//! The queue over the real encoder; faults are put in by [`Faulty`].

mod admission;
mod bulk;
mod fairness;
mod lanes;
mod laws;
mod places;
mod results;
mod support;
