//! What a page shows, read off its markup: whether an operator's own template still says all that must be said.
//!
//! Never judges taste, and knows no style sheet. Invariant: text in comments, scripts, hidden elements and attributes
//! is not shown.

use super::view::Line;

/// What a page about a challenge must have.
pub(super) struct Expect<'a> {
    pub lines: &'a [Line<'a>],
    /// The challenge's own path, which its forms begin with.
    pub path: &'a str,
    /// Empty where its address alone is the secret.
    pub csrf: &'a str,
    pub forms: Vec<Form>,
}

/// One form of a challenge.
pub(super) struct Form {
    /// `/answer`, `/reject`, `/release` or nothing.
    pub step: &'static str,
    /// It has the field for the code.
    pub code: bool,
    /// It has the field for a passkey's answer. Its button is the script's to show.
    pub passkey: bool,
}

impl Form {
    pub fn of(step: &'static str) -> Self {
        Self { step, code: false, passkey: false }
    }
    pub fn with_code(self) -> Self {
        Self { code: true, ..self }
    }
    pub fn with_passkey(self) -> Self {
        Self { passkey: true, ..self }
    }
}

impl Expect<'_> {
    /// The first thing that is missing, as a sentence about `this page`.
    pub fn missing_in(&self, page: &Page) -> Option<String> {
        for line in self.lines {
            if !page.shows(&line.label) || !page.shows(line.value) {
                let label = &line.label;
                return Some(format!(
                    "this page does not show the line `{label}` of a transaction"
                ));
            }
        }
        self.forms.iter().find_map(|form| self.missing_form(form, page))
    }

    fn missing_form(&self, form: &Form, page: &Page) -> Option<String> {
        let action = format!("{}{}", self.path, form.step);
        // A code and a passkey are answered in the same step, by forms of their own.
        let mut forms = page.forms.iter().filter(|seen| seen.action == action);
        let Some(first) = forms.next() else {
            return Some(format!("this page has no form with the action `{}`", form.step));
        };
        let lacks = lacking(form, first, self.csrf);
        if forms.any(|seen| lacking(form, seen, self.csrf).is_none()) { None } else { lacks }
    }
}

fn lacking(form: &Form, seen: &Seen, csrf: &str) -> Option<String> {
    let of = |what: &str| Some(format!("the form of `{}` has no {what}", form.step));
    if !seen.post {
        return of("method `post`");
    }
    let token = |(name, value): &(String, String)| name == "csrf" && value == csrf;
    if !csrf.is_empty() && !seen.hidden.iter().any(token) {
        return of("hidden field `csrf`");
    }
    if form.code && !(seen.code && seen.hidden.iter().any(|(name, _)| name == "factor")) {
        return of("field `code` and hidden field `factor`");
    }
    if form.passkey {
        let has = |name: &str| seen.hidden.iter().any(|(known, _)| known == name);
        let whole = has("factor") && has("assertion");
        return if whole { None } else { of("hidden fields `factor` and `assertion`") };
    }
    if !seen.button {
        return of("button");
    }
    None
}

/// A page as it was read.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Shown text without any white space.
    text: String,
    forms: Vec<Seen>,
    /// What the page's policy would not let work.
    pub forbidden: Option<String>,
}

#[derive(Debug, Default)]
struct Seen {
    action: String,
    post: bool,
    hidden: Vec<(String, String)>,
    code: bool,
    button: bool,
}

impl Page {
    pub fn read(html: &str) -> Self {
        let (mut page, mut rest) = (Self::default(), html);
        // Elements that are open, and whether what is in them is shown.
        let mut open: Vec<(String, bool)> = Vec::new();
        while let Some(at) = rest.find('<') {
            page.says(&rest[..at], &open);
            rest = &rest[at..];
            if let Some(comment) = rest.strip_prefix("<!--") {
                rest = comment.split_once("-->").map_or("", |(_, behind)| behind);
                continue;
            }
            let (tag, behind) = Tag::read(rest);
            rest = behind;
            match tag {
                Some(tag) if tag.closes => close(&mut open, &tag.name),
                Some(tag) => {
                    let shown = open.iter().all(|(_, shown)| *shown) && !tag.hides();
                    page.sees(&tag, shown);
                    if RAW.contains(&&*tag.name) {
                        rest = past(rest, &tag.name);
                    } else if !VOID.contains(&&*tag.name) {
                        open.push((tag.name, shown));
                    }
                }
                None => {}
            }
        }
        page.says(rest, &open);
        page
    }

    fn says(&mut self, text: &str, open: &[(String, bool)]) {
        if open.iter().all(|(_, shown)| *shown) {
            self.text.extend(unescape(text).chars().filter(|c| !c.is_whitespace()));
        }
    }

    fn shows(&self, text: &str) -> bool {
        self.text.contains(&text.chars().filter(|c| !c.is_whitespace()).collect::<String>())
    }

    fn sees(&mut self, tag: &Tag, shown: bool) {
        self.forbids(tag);
        let value = |name| tag.value(name).unwrap_or_default();
        let kind = value("type");
        match &*tag.name {
            "form" if shown => self.forms.push(Seen {
                action: value("action"),
                post: value("method").eq_ignore_ascii_case("post"),
                ..Seen::default()
            }),
            "input" if kind == "hidden" => {
                let field = (value("name"), value("value"));
                self.forms
                    .iter_mut()
                    .last()
                    .into_iter()
                    .for_each(|it| it.hidden.push(field.clone()));
            }
            "input" if shown && value("name") == "code" => {
                self.forms.iter_mut().last().into_iter().for_each(|it| it.code = true);
            }
            "button" if shown && (kind.is_empty() || kind == "submit") => {
                self.forms.iter_mut().last().into_iter().for_each(|it| it.button = true);
            }
            _ => {}
        }
    }

    /// The page's policy stops these without a word, so they are faults.
    fn forbids(&mut self, tag: &Tag) {
        let inline = tag.names().find(|name| *name == "style" || name.starts_with("on"));
        let source = match &*tag.name {
            "script" | "img" => Some(tag.value("src").unwrap_or_default()),
            "link" => tag.value("href"),
            _ => None,
        };
        let said = match (&*tag.name, inline, source) {
            ("style" | "iframe" | "object" | "embed" | "base", ..) => {
                Some(format!("`<{}>` does not work under the policy of these pages", tag.name))
            }
            (_, Some(name), _) => Some(format!(
                "the attribute `{name}` does not work under the policy of these pages"
            )),
            (_, _, Some(source)) if !source.starts_with("/.stepgate/") => {
                Some(format!("`<{}>` can only load what is below /.stepgate/", tag.name))
            }
            _ => None,
        };
        self.forbidden = self.forbidden.take().or(said);
    }
}

struct Tag {
    name: String,
    closes: bool,
    attributes: Vec<(String, String)>,
}

impl Tag {
    /// A tag at the text's beginning, and what is behind it.
    fn read(text: &str) -> (Option<Self>, &str) {
        let inside = &text[1..];
        let (closes, inside) = match inside.strip_prefix('/') {
            Some(inside) => (true, inside),
            None => (false, inside),
        };
        if !inside.starts_with(|c: char| c.is_ascii_alphabetic()) {
            // A doctype, or a sign that stands for itself.
            let skipped =
                if inside.starts_with('!') { inside.find('>').map_or(0, |at| at + 1) } else { 0 };
            return (None, &inside[skipped..]);
        }
        let end = inside.find(|c: char| c.is_whitespace() || c == '>' || c == '/');
        let (name, mut rest) = inside.split_at(end.unwrap_or(inside.len()));
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            match rest.strip_prefix('>') {
                Some(behind) => {
                    let name = name.to_ascii_lowercase();
                    return (Some(Self { name, closes, attributes }), behind);
                }
                None if rest.is_empty() => return (None, ""),
                None => {
                    let (attribute, behind) = attribute(rest);
                    attributes.push(attribute);
                    rest = behind;
                }
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|(name, _)| &**name)
    }

    fn value(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| unescape(value))
    }

    /// What is in it is not for everybody's eyes.
    fn hides(&self) -> bool {
        matches!(&*self.name, "template" | "noscript" | "head" | "select" | "datalist")
            || self.names().any(|name| name == "hidden" || name == "inert")
            || self.value("aria-hidden").is_some_and(|value| value == "true")
            || (self.name == "details" && !self.names().any(|name| name == "open"))
    }
}

fn attribute(text: &str) -> ((String, String), &str) {
    let end =
        text.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end.max(1).min(text.len()));
    let name = name.to_ascii_lowercase();
    let Some(value) = rest.trim_start().strip_prefix('=').map(str::trim_start) else {
        return ((name, String::new()), rest);
    };
    for quote in ['"', '\''] {
        if let Some(quoted) = value.strip_prefix(quote) {
            let (value, behind) = quoted.split_once(quote).unwrap_or((quoted, ""));
            return ((name, value.to_owned()), behind);
        }
    }
    let end = value.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(value.len());
    ((name, value[..end].to_owned()), &value[end..])
}

/// Past the end tag of an element whose text is no markup.
fn past<'a>(rest: &'a str, name: &str) -> &'a str {
    let end = format!("</{name}");
    let at = rest.to_ascii_lowercase().find(&end);
    at.and_then(|at| rest.get(at..)).unwrap_or("")
}

fn close(open: &mut Vec<(String, bool)>, name: &str) {
    if let Some(at) = open.iter().rposition(|(known, _)| known == name) {
        open.truncate(at);
    }
}

fn unescape(text: &str) -> String {
    let mut text = text.to_owned();
    for (entity, sign) in ENTITIES {
        text = text.replace(entity, sign);
    }
    text
}

/// The ampersand last: what it makes is not looked at again.
const ENTITIES: [(&str, &str); 7] = [
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#x27;", "'"),
    ("&#39;", "'"),
    ("&#x2f;", "/"),
    ("&amp;", "&"),
];
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];
const VOID: [&str; 8] = ["area", "br", "col", "hr", "img", "input", "link", "meta"];

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<!doctype html><form method=post action='/c/answer'>\
        <input type=hidden name=csrf value='a&amp;b'><input type=hidden name=factor value=totp>\
        <input name=code><button>ok</button></form><dl><dt>Amount<dd><b>0.</b>5 &lt;x&gt;</dl>";

    fn missing(html: &str) -> Option<String> {
        let line = |value| Line { kind: "", label: "Amount".into(), value };
        let lines = [line("0.5"), line("<x>")];
        let forms = vec![Form::of("/answer").with_code()];
        Expect { lines: &lines, path: "/c", csrf: "a&b", forms }.missing_in(&Page::read(html))
    }

    #[test]
    fn a_page_that_says_all_lacks_nothing() {
        assert_eq!(missing(PAGE), None);
    }

    #[test]
    fn what_nobody_sees_is_not_said() {
        for (from, to) in [
            ("<dl>", "<dl hidden>"),
            ("<dl>", "<!--<dl>"),
            ("<dl>", "<template><dl>"),
            ("<dl>", "<div aria-hidden=true><dl>"),
            ("<dl>", "<dl title='"),
            ("<dl>", "<title><dl>"),
            ("5 &lt;", "6 &lt;"),
        ] {
            let said = missing(&PAGE.replace(from, to)).unwrap();
            assert!(said.contains("`Amount`"), "{to}: {said}");
        }
    }

    #[test]
    fn a_form_needs_its_address_its_token_its_field_and_its_button() {
        for (from, to, said) in [
            ("/c/answer", "/d/answer", "no form with the action `/answer`"),
            ("method=post", "method=get", "no method"),
            ("a&amp;b", "a", "no hidden field `csrf`"),
            ("<input name=code>", "", "no field `code`"),
            ("<input name=code>", "<input name=code type=hidden>", "no field `code`"),
            ("name=factor", "name=f", "hidden field `factor`"),
            ("<button>", "<button type=button>", "no button"),
            ("<form ", "<form hidden ", "no form with"),
        ] {
            let missing = missing(&PAGE.replace(from, to)).unwrap();
            assert!(missing.contains(said), "{to}: {missing}");
        }
    }

    #[test]
    fn what_the_policy_stops_is_found() {
        for (html, word) in [
            ("<style>p{}</style>", "`<style>`"),
            ("<p style='color:red'>", "`style`"),
            ("<button onclick=x()>", "`onclick`"),
            ("<script>x()</script>", "`<script>`"),
            ("<script src=https://cdn.example/x.js></script>", "`<script>`"),
            ("<img src='https://a.example/logo.png'>", "`<img>`"),
            ("<link rel=stylesheet href=/brand.css>", "`<link>`"),
        ] {
            assert!(Page::read(html).forbidden.unwrap().contains(word), "{html}");
        }
        assert_eq!(
            Page::read("<link href=/.stepgate/brand.css><img src='/.stepgate/logo'>").forbidden,
            None
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(html in "[<>/!a-c='\" -]{0,60}|.{0,60}") {
            Page::read(&html);
        }
    }
}
