//! Recorded traffic decided again under another policy: who would be asked, held, denied, and who no longer.
//!
//! Never asks a running gateway or a store, and today's lists only where that is asked for: facts come from the record.
//! Invariant: under the policy that made the records nothing differs, and what cannot be told from a record is counted
//! and said.

mod anew;
mod change;
mod forecast;
mod html;
mod judge;
mod line;
mod plot;
mod read;
mod report;
mod tally;
mod text;

pub use change::{Effect, Kind};
pub use html::page;
pub use judge::{Setup, Watcher};
pub use read::{ReplayError, replay};
pub use report::{About, Report};
pub use tally::{Example, Tally};
pub use text::shown;
