//! Rules, and what they say about a call: pure, no I/O, no clock.

mod edit;

pub use edit::Edit;
