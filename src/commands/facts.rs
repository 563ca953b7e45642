//! `stepgate facts`: everything that a rule may look at.
//!
//! Never needs a configuration. Invariant: the page in the tree is what this prints.

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::policy::reference;

/// Prints the table: for people, as Markdown or as JSON.
///
/// # Errors
/// None that is known of; printing JSON could fail.
pub fn run(as_json: bool, as_markdown: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        say!("{}", serde_json::to_string_pretty(&reference::json())?);
    } else if as_markdown {
        say!("{}", reference::markdown().trim_end());
    } else {
        say!("{}", reference::plain(width()).trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// Of the terminal, if there is one.
fn width() -> usize {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(WIDTH)
}

const WIDTH: usize = 100;
