//! Whether a page's Content-Security-Policy lets a script of its own site load and call its own site (CSP Level 3).
//!
//! Never guesses in favour of the script: what is not understood forbids it. Invariant: every policy of the page must
//! allow it, as a browser wants it.

/// How the script may be named.
#[derive(Debug, PartialEq, Eq)]
pub enum Allowed<'p> {
    Plain,
    /// With this nonce, which is written into an attribute as it is.
    ByNonce(&'p str),
}

/// `None`: some policy does not let it.
pub fn allows_own_script<'p>(headers: &[&'p str]) -> Option<Allowed<'p>> {
    let policies = || headers.iter().flat_map(|header| header.split(',')).map(directives);
    let calls = |policy: &Vec<Directive<'_>>| {
        let sources = governing(policy, &["connect-src", "default-src"]);
        sources.is_none_or(names_own_site)
    };
    if !policies().all(|policy| calls(&policy)) {
        return None;
    }
    let scripts = |policy: &Vec<Directive<'p>>| {
        governing(policy, &["script-src-elem", "script-src", "default-src"]).map(<[_]>::to_vec)
    };
    let of_scripts: Vec<Vec<&str>> = policies().filter_map(|policy| scripts(&policy)).collect();
    let nonce = of_scripts.iter().flatten().find_map(|source| nonce(source));
    let by_nonce = |sources: &Vec<&str>| {
        nonce.is_some() && sources.iter().any(|source| self::nonce(source) == nonce)
    };
    let plainly = |sources: &Vec<&str>| {
        let dynamic = sources.iter().any(|it| it.eq_ignore_ascii_case("'strict-dynamic'"));
        !dynamic && names_own_site(sources)
    };
    if of_scripts.iter().all(plainly) {
        return Some(Allowed::Plain);
    }
    let all = of_scripts.iter().all(|sources| plainly(sources) || by_nonce(sources));
    nonce.filter(|_| all).map(Allowed::ByNonce)
}

type Directive<'p> = (String, Vec<&'p str>);

/// The directives of one policy; of two with one name the first counts.
fn directives(policy: &str) -> Vec<Directive<'_>> {
    let mut found: Vec<Directive<'_>> = Vec::new();
    for part in policy.split(';') {
        let mut words = part.split_ascii_whitespace();
        let Some(name) = words.next().map(str::to_ascii_lowercase) else { continue };
        if !found.iter().any(|(known, _)| *known == name) {
            found.push((name, words.collect()));
        }
    }
    found
}

/// The sources of the first of these directives that the policy has.
fn governing<'a, 'p>(policy: &'a [Directive<'p>], names: &[&str]) -> Option<&'a [&'p str]> {
    let of = |name: &&str| policy.iter().find(|(known, _)| known == *name);
    names.iter().find_map(of).map(|(_, sources)| &**sources)
}

/// The gateway is always reached over TLS. A source that names hosts may mean ours, or not.
fn names_own_site(sources: &[&str]) -> bool {
    sources.iter().any(|source| {
        ["'self'", "https:", "*"].iter().any(|wide| source.eq_ignore_ascii_case(wide))
    })
}

/// A nonce as the specification spells it: nothing in it could end an attribute.
fn nonce<'p>(source: &&'p str) -> Option<&'p str> {
    let (prefix, rest) = source.split_at_checked("'nonce-".len())?;
    let value = rest.strip_suffix('\'')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
    let sound = !value.is_empty() && value.bytes().all(plain);
    (prefix.eq_ignore_ascii_case("'nonce-") && sound).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_lets_the_site_s_own_scripts_load_lets_this_one() {
        for policy in [
            "",
            "frame-ancestors 'none'",
            "default-src 'self'",
            "default-src 'none'; script-src 'self' 'unsafe-eval'; connect-src 'self'",
            "Default-Src https:",
            "script-src *; script-src 'none'",
            "default-src 'none'; script-src 'none'; script-src-elem 'self'; connect-src *",
        ] {
            assert_eq!(allows_own_script(&[policy]), Some(Allowed::Plain), "{policy}");
        }
        assert_eq!(allows_own_script(&[]), Some(Allowed::Plain));
    }

    #[test]
    fn what_would_not_let_it_load_or_call_is_left_alone() {
        for policy in [
            "default-src 'none'",
            "script-src 'none'",
            "script-src https://cdn.example",
            "script-src 'sha256-abc' 'strict-dynamic' 'self'",
            "script-src 'self'; connect-src https://api.example",
            "default-src 'self', script-src 'none'",
            "script-src 'nonce-a\"b'",
        ] {
            assert_eq!(allows_own_script(&[policy]), None, "{policy}");
        }
        assert_eq!(allows_own_script(&["default-src 'self'", "script-src 'none'"]), None);
    }

    #[test]
    fn a_nonce_has_to_hold_in_every_policy() {
        let by_nonce = Some(Allowed::ByNonce("abc"));
        assert_eq!(allows_own_script(&["script-src 'nonce-abc' 'strict-dynamic'"]), by_nonce);
        assert_eq!(allows_own_script(&["script-src 'NONCE-abc'", "script-src 'self'"]), by_nonce);
        assert_eq!(allows_own_script(&["script-src 'nonce-abc'", "script-src 'nonce-d'"]), None);
    }
}
