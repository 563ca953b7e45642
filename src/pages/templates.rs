//! The templates and what they can do with a value: fill it into a sentence, set it apart in groups.
//!
//! Never marks a client's text as safe. Invariant: whatever a template is called, its values are escaped for HTML.

use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, Value};

/// The pages as they are compiled in, with some replaced by an operator's own.
///
/// # Errors
/// The first template of `own` that does not parse.
pub(super) fn environment<'a>(
    own: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Environment<'static>, Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.set_formatter(write);
    templates.add_filter("fill", fill);
    templates.add_filter("grouped", grouped);
    for (name, source) in TEMPLATES.into_iter().chain([MAIL]) {
        templates.add_template(name, source)?;
    }
    for (name, source) in own {
        templates.add_template_owned(name.to_owned(), source.to_owned())?;
    }
    Ok(templates)
}

/// The name of a page that there is, as it is written here.
pub(super) fn known(name: &str) -> Option<&'static str> {
    names().find(|known| *known == name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.into_iter().map(|(name, _)| name)
}

/// Like minijinja's own, but a slash stays a slash: addresses are read by people.
fn write(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() => Ok(out.write_str(&escape(text))?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// `{{ t.valid_until|fill(time=expires) }}`. Sentence and values are escaped, but for values that are markup of ours.
/// One pass: a value's own braces stay as they are.
fn fill(template: &str, values: Kwargs) -> Result<Value, Error> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(&escape(before));
        let named = after.split_once('}').filter(|(name, _)| values.has(name));
        rest = match named {
            Some((name, tail)) => {
                filled.push_str(&markup(&values.get::<Value>(name)?));
                tail
            }
            None => {
                filled.push('{');
                after
            }
        };
    }
    values.assert_all_used()?;
    filled.push_str(&escape(rest));
    Ok(Value::from_safe_string(filled))
}

fn markup(value: &Value) -> String {
    match value.as_str() {
        Some(text) if value.is_safe() => text.to_owned(),
        _ => escape(&value.to_string()),
    }
}

/// An address-like value in groups of four, set apart by style and not by characters: a copy of it is the value.
fn grouped(value: &str) -> Value {
    let whole = escape(value);
    if !is_address_like(value) {
        return Value::from_safe_string(whole);
    }
    let characters: Vec<char> = value.chars().collect();
    let groups: Vec<String> = characters
        .chunks(4)
        .map(|group| format!("<span>{}</span>", escape(&group.iter().collect::<String>())))
        .collect();
    let groups = groups.join("<wbr>");
    Value::from_safe_string(format!(r#"<data class="grouped" value="{whole}">{groups}</data>"#))
}

/// Long, without spaces, with a letter (an amount has none) and not an e-mail address.
fn is_address_like(value: &str) -> bool {
    value.len() > 16
        && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@')
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// For text and quoted attributes. A slash is harmless in both, and addresses stay readable.
pub(super) fn escape(text: &str) -> String {
    minijinja::HtmlEscape(text).to_string().replace("&#x2f;", "/")
}

/// What mails are made of: no page, and not part of a brand.
const MAIL: (&str, &str) = ("mail.html", include_str!("html/mail.html"));

const TEMPLATES: [(&str, &str); 12] = [
    ("base.html", include_str!("html/base.html")),
    ("parts.html", include_str!("html/parts.html")),
    ("challenge.html", include_str!("html/challenge.html")),
    ("approved.html", include_str!("html/approved.html")),
    ("closed.html", include_str!("html/closed.html")),
    ("refusal.html", include_str!("html/refusal.html")),
    ("not_me.html", include_str!("html/not_me.html")),
    ("thaw.html", include_str!("html/thaw.html")),
    ("factors.html", include_str!("html/factors.html")),
    ("enrol.html", include_str!("html/enrol.html")),
    ("enrolled.html", include_str!("html/enrolled.html")),
    ("approvals.html", include_str!("html/approvals.html")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_grouped_by_elements_only() {
        let shown = grouped("bc1qxy2kgdygjrsqtz<").to_string();
        assert_eq!(
            shown,
            "<data class=\"grouped\" value=\"bc1qxy2kgdygjrsqtz&lt;\"><span>bc1q</span><wbr>\
             <span>xy2k</span><wbr><span>gdyg</span><wbr><span>jrsq</span><wbr>\
             <span>tz&lt;</span></data>"
        );
    }

    #[test]
    fn amounts_and_short_values_are_not_grouped() {
        assert_eq!(grouped("0.000000000000000001").to_string(), "0.000000000000000001");
        assert_eq!(grouped("USDT-TRC20").to_string(), "USDT-TRC20");
        assert_eq!(grouped("<b>").to_string(), "&lt;b&gt;");
    }

    #[test]
    fn only_markup_of_ours_stays_markup_in_a_sentence() {
        let filled = |value: Value| {
            fill("<a> {x} {y}", Kwargs::from_iter([("x", value)])).unwrap().to_string()
        };
        assert_eq!(filled(Value::from("<b>{x}")), "&lt;a&gt; &lt;b&gt;{x} {y}");
        assert_eq!(filled(Value::from_safe_string("<b>".into())), "&lt;a&gt; <b> {y}");
    }

    proptest::proptest! {
        #[test]
        fn no_value_escapes_its_markup(value in ".{0,40}|[!-~]{17,40}") {
            let shown = grouped(&value).to_string();
            let bare = shown
                .replace("<data class=\"grouped\" value=\"", "")
                .replace("\"><span>", "")
                .replace("</span></data>", "")
                .replace("</span><wbr><span>", "");
            proptest::prop_assert!(!bare.contains(['<', '>', '"']), "{bare}");
        }
    }
}
