//! The report as one page that can be mailed: no script, nothing from elsewhere.
//!
//! Never puts a name into the page unescaped: accounts, rules and files are called what somebody called them.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::change::Kind;
use super::plot;
use super::report::{Report, grouped, grouped_digits};

/// The whole page.
///
/// # Errors
/// Only if the page's own text is broken, which its tests rule out.
pub fn page(report: &Report) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.add_filter("grouped", grouped);
    templates.add_filter("grouped_digits", |digits: &str| grouped_digits(digits));
    templates.add_filter("label", |word: &str| word.replace('_', " "));
    templates.add_template("replay", include_str!("replay.html"))?;
    let met: Vec<_> = report.kinds.iter().filter(|row| row.requests > 0).collect();
    let present: Vec<Value> = Kind::ALL
        .into_iter()
        .filter(|kind| met.iter().any(|row| row.kind == *kind))
        .map(|kind| context! { word => kind.word(), label => kind.label() })
        .collect();
    templates.get_template("replay")?.render(context! {
        report => Serde(report),
        kinds => Serde(&met),
        present,
        style => Value::from_safe_string(include_str!("replay.css").to_owned()),
        prompts => Value::from_safe_string(plot::prompts(&report.days)),
        changes => Value::from_safe_string(plot::changes(&report.days)),
    })
}
