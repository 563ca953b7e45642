//! Which texts in a request's head are credentials. Pure.
//!
//! Never guesses: where another parser could read another credential (a cookie twice, quotes,
//! commas, two `Authorization` headers, a token in the query besides), the request is refused
//! rather than read one way.

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::IdentifyError;
use crate::octets;

/// Where in the head a credential stands, as `from` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// `cookie:NAME`
    Cookie(String),
    /// `bearer`: `Authorization: Bearer …`
    Bearer,
    /// `header:NAME`
    Header(HeaderName),
    /// `authorization:SCHEME:NAME`: one parameter of another scheme, `Authorization: SCHEME
    /// NAME=…,…`
    Parameter { scheme: String, name: String },
}

/// As `from` writes it.
impl std::fmt::Display for Carrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Bearer => f.write_str("bearer"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Parameter { scheme, name } => write!(f, "authorization:{scheme}:{name}"),
        }
    }
}

impl Carrier {
    /// Reads one entry of `from`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.split(':').collect::<Vec<_>>()[..] {
            ["bearer"] => Ok(Self::Bearer),
            ["cookie", name] if is_token(name) => Ok(Self::Cookie(name.to_owned())),
            ["cookie", _] => Err("not a cookie name"),
            ["header", name] => match name.parse::<HeaderName>() {
                Ok(name) if name == COOKIE => Err("a cookie is written `cookie:NAME`"),
                Ok(name) => Ok(Self::Header(name)),
                Err(_) => Err("not a header name"),
            },
            ["authorization", scheme, name] if is_token(scheme) && is_token(name) => {
                Ok(Self::Parameter { scheme: scheme.to_owned(), name: name.to_owned() })
            }
            _ => Err("not a place where credentials stand"),
        }
    }

    /// The header in which it stands.
    pub fn header(&self) -> HeaderName {
        match self {
            Self::Cookie(_) => COOKIE,
            Self::Bearer | Self::Parameter { .. } => AUTHORIZATION,
            Self::Header(name) => name.clone(),
        }
    }

    /// The credential that stands there, if any.
    pub fn read<'h>(&self, headers: &'h HeaderMap) -> Result<Option<&'h str>, IdentifyError> {
        match self {
            Self::Cookie(name) => cookie(headers, name),
            Self::Bearer => bearer(headers),
            Self::Header(name) => header(headers, name),
            Self::Parameter { scheme, name } => parameter(headers, scheme, name),
        }
    }
}

/// Whether the query carries a token of its own (RFC 6750 §2.3), in any spelling.
pub(super) fn has_access_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or("").as_bytes();
        percent_encoding::percent_decode(name)
            .decode_utf8_lossy()
            .eq_ignore_ascii_case("access_token")
    })
}

/// HTTP/2 clients may split one cookie header into several lines (RFC 9113 §8.2.3), so all of them
/// are one list.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, IdentifyError> {
    let (mut found, mut versioned) = (None, false);
    for line in headers.get_all(COOKIE) {
        for pair in pairs(line.as_bytes()) {
            versioned |= pair.get(..8).is_some_and(|head| head.eq_ignore_ascii_case(b"$version"));
            match pair.strip_prefix(name.as_bytes()) {
                Some([b'=', value @ ..]) => {
                    let value = cookie_octets(value)?;
                    if found.replace(value).is_some() {
                        return Err(IdentifyError::Ambiguous("one cookie given twice"));
                    }
                }
                _ if hides(pair, name.as_bytes()) => {
                    return Err(IdentifyError::Ambiguous("a cookie inside another cookie"));
                }
                _ => {}
            }
        }
    }
    if found.is_some() && versioned {
        // Servers that honour `$Version` (RFC 2109) also honour quotes and commas, and see other
        // cookies than we do.
        return Err(IdentifyError::Ambiguous("cookies with $Version"));
    }
    Ok(found.filter(|value| !value.is_empty()))
}

/// The trimmed parts between semicolons.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    let ends = memchr::memchr_iter(b';', line).chain([line.len()]);
    ends.map(move |end| trim(&line[std::mem::replace(&mut from, end + 1)..end]))
}

/// RFC 6265 §4.1.1 cookie-octets: no quote, comma, backslash or white space.
fn cookie_octets(value: &[u8]) -> Result<&str, IdentifyError> {
    let plain = |octet| {
        octets::between(octet, b'!', b'~') & (octet != b'"') & (octet != b',') & (octet != b'\\')
    };
    let text = Some(value).filter(|value| octets::all(value, plain));
    text.and_then(|value| std::str::from_utf8(value).ok())
        .ok_or(IdentifyError::Ambiguous("a credential cookie that is quoted or malformed"))
}

/// Whether a parser that splits at commas, quotes or spaces would find the cookie in this pair.
fn hides(pair: &[u8], name: &[u8]) -> bool {
    let named = |piece: &[u8]| matches!(piece.strip_prefix(name), Some([b'=', ..]));
    let spaced = pair.strip_prefix(name).is_some_and(|rest| trim(rest).first() == Some(&b'='));
    spaced || pair.split(|byte| matches!(byte, b',' | b'"' | b' ' | b'\t')).any(named)
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

fn authorization(headers: &HeaderMap) -> Result<Option<&str>, IdentifyError> {
    once(headers, &AUTHORIZATION, "two Authorization headers")?
        .map(|value| {
            value.to_str().map_err(|_| IdentifyError::Invalid("Authorization is not text"))
        })
        .transpose()
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, IdentifyError> {
    const MALFORMED: IdentifyError = IdentifyError::Invalid("malformed Authorization");
    let Some(value) = authorization(headers)? else { return Ok(None) };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim_matches(' ');
            if is_token68(token) { Ok(Some(token)) } else { Err(MALFORMED) }
        }
        // `Bearer:x`, `Bearer\tx` or a token without any scheme: a lax upstream might take it, so
        // it does not pass as nobody's request.
        None => Err(MALFORMED),
        Some(_) if value.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("bearer")) => {
            Err(MALFORMED)
        }
        Some(_) => Ok(None),
    }
}

fn parameter<'h>(
    headers: &'h HeaderMap,
    scheme: &str,
    name: &str,
) -> Result<Option<&'h str>, IdentifyError> {
    let parts = authorization(headers)?.and_then(|value| value.split_once(' '));
    let Some((_, list)) = parts.filter(|(given, _)| given.eq_ignore_ascii_case(scheme)) else {
        return Ok(None);
    };
    let pairs = list.split(',').filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(given, _)| given.trim().eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (Some((_, value)), None) if mentions(list, name) == 1 => visible(value).map(Some),
        (Some(_), _) => Err(IdentifyError::Ambiguous("one Authorization parameter twice")),
        (None, _) => Err(IdentifyError::Invalid("Authorization lacks its credential")),
    }
}

/// How often a parser that splits at quotes, white space or semicolons as well would find the
/// parameter.
fn mentions(list: &str, name: &str) -> usize {
    let list = list.to_ascii_lowercase();
    let divides = |before: char| matches!(before, ',' | ';' | '"' | '\'' | ' ' | '\t');
    let named = |(at, name): (usize, &str)| {
        let (before, behind) = (list[..at].chars().next_back(), &list[at + name.len()..]);
        before.is_none_or(divides) && behind.trim_start().starts_with('=')
    };
    list.match_indices(&name.to_ascii_lowercase()).filter(|hit| named(*hit)).count()
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, IdentifyError> {
    once(headers, name, "one credential header twice")?
        .map(|value| {
            let text = value.to_str().map_err(|_| IdentifyError::Invalid("not a credential"))?;
            visible(text)
        })
        .transpose()
}

fn once<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    twice: &'static str,
) -> Result<Option<&'h HeaderValue>, IdentifyError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(IdentifyError::Ambiguous(twice)),
    }
}

/// A credential in a header: not empty, without white space inside.
fn visible(text: &str) -> Result<&str, IdentifyError> {
    let text = text.trim();
    if !text.is_empty() && octets::all(text.as_bytes(), |octet| octets::between(octet, b'!', b'~'))
    {
        Ok(text)
    } else {
        Err(IdentifyError::Invalid("not a credential"))
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
}

/// RFC 9110 §11.2.
fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let mark = |byte: u8| b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .fold(HeaderMap::new(), |mut map, (name, value): (_, HeaderValue)| {
                map.append(name, value);
                map
            })
    }

    fn check(from: &str, lines: &[(&'static str, &str)], expected: Result<Option<&str>, &str>) {
        let headers = headers(lines);
        let read = Carrier::parse(from).unwrap().read(&headers);
        let read = read.map_err(|error| match error {
            IdentifyError::Ambiguous(_) => "ambiguous",
            IdentifyError::Invalid(_) => "invalid",
            _ => "other",
        });
        assert_eq!(read, expected, "{from} in {lines:?}");
    }

    fn check_cookie(line: &str, expected: Result<Option<&str>, &str>) {
        check("cookie:sid", &[("cookie", line)], expected);
    }

    #[test]
    fn a_cookie_is_found_among_others_and_across_lines() {
        check_cookie("a=1; sid=abc; b=2", Ok(Some("abc")));
        check_cookie("a=1; xsid=abc; sidx=2; SID=5", Ok(None));
        check_cookie("sid=abc==", Ok(Some("abc==")));
        check("cookie:sid", &[("cookie", "a=1"), ("cookie", "sid=abc")], Ok(Some("abc")));
        check("cookie:sid", &[], Ok(None));
    }

    #[test]
    fn an_empty_cookie_is_no_credential() {
        check_cookie("sid=; a=1", Ok(None));
        check_cookie("sid", Ok(None));
    }

    #[test]
    fn the_same_cookie_twice_is_ambiguous() {
        check_cookie("sid=a; sid=b", Err("ambiguous"));
        check_cookie("sid=a; sid=a", Err("ambiguous"));
        check_cookie("sid=; sid=a", Err("ambiguous"));
        check("cookie:sid", &[("cookie", "sid=a"), ("cookie", "sid=b")], Err("ambiguous"));
    }

    #[test]
    fn what_another_parser_reads_otherwise_is_ambiguous() {
        let lines = [
            "sid=\"a\"",
            "sid=a,sid=b",
            "x=1,sid=b; sid=a",
            "x=\"1; sid=b; y=\"; sid=a",
            "sid =a",
            "x=\"sid=b\"",
            "$Version=1; sid=a",
            "sid=a; $version=\"1\"",
            "sid=a b",
            "sid=a\\b",
            "x=1,sid=b",
        ];
        for line in lines {
            check_cookie(line, Err("ambiguous"));
        }
        check_cookie("$Version=1; other=a", Ok(None));
    }

    #[test]
    fn a_bearer_token_is_found_whatever_the_schemes_case() {
        for line in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            check("bearer", &[("authorization", line)], Ok(Some("a.b.c")));
        }
        check("bearer", &[("authorization", "Basic YTpi")], Ok(None));
    }

    #[test]
    fn a_token_in_a_form_that_only_a_lax_upstream_takes_is_invalid() {
        for line in
            ["Bearer", "Bearer a b", "Bearer a,b", "Bearer:a", "Bearer\ta", "a.b.c", "BearerX a"]
        {
            check("bearer", &[("authorization", line)], Err("invalid"));
        }
    }

    #[test]
    fn two_authorization_headers_or_key_headers_are_ambiguous() {
        let twice = [("authorization", "Basic YTpi"), ("authorization", "Bearer a")];
        check("bearer", &twice, Err("ambiguous"));
        check("header:api-key", &[("api-key", "a"), ("api-key", "a")], Err("ambiguous"));
    }

    #[test]
    fn a_key_header_is_one_visible_word() {
        check("header:API-Key", &[("api-key", "k1")], Ok(Some("k1")));
        check("header:api-key", &[("api-key", "")], Err("invalid"));
        check("header:api-key", &[("api-key", "a b")], Err("invalid"));
    }

    #[test]
    fn one_parameter_of_another_scheme_is_read() {
        let from = "authorization:deri-hmac-sha256:id";
        let line = "DERI-HMAC-SHA256 id=KEY,ts=1,sig=ab==,nonce=x";
        check(from, &[("authorization", line)], Ok(Some("KEY")));
        check(from, &[("authorization", "deri-hmac-sha256 id=A,id=B")], Err("ambiguous"));
        check(from, &[("authorization", "deri-hmac-sha256 ts=1")], Err("invalid"));
        check(from, &[("authorization", "Bearer id=A")], Ok(None));
        check(from, &[("authorization", "deri-hmac-sha256 id=A,sid=B,sig=b/id=")], Ok(Some("A")));
    }

    #[test]
    fn a_parameter_that_a_lax_parser_would_find_elsewhere_is_ambiguous() {
        let from = "authorization:hmac:id";
        for line in [
            "hmac x id=B,id=A",
            "hmac sig=\"x, id=B\",id=A",
            "hmac sig=\"id=B\",id=A",
            "hmac sig=a;id=B,id=A",
            "hmac sig='ID=B',id=A",
            "hmac id=A,sig=a id =B",
        ] {
            check(from, &[("authorization", line)], Err("ambiguous"));
        }
    }

    #[test]
    fn a_token_in_the_query_is_seen_in_every_spelling() {
        for query in ["access_token=a", "x=1&ACCESS_TOKEN=a", "x;access%5Ftoken=a", "access_token"]
        {
            assert!(has_access_token(query), "{query}");
        }
        assert!(!has_access_token("x=access_token&my_access_token=1"));
    }

    #[test]
    fn from_is_checked() {
        for text in ["", "cookie:", "cookie:a b", "header:", "header:cookie", "beerer", "bearer:x"]
        {
            assert!(Carrier::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_head_breaks_the_parsers(bytes: Vec<u8>, from in 0_usize..4) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let carriers = ["cookie:s", "bearer", "header:api-key", "authorization:s:i"];
            let mut headers = HeaderMap::new();
            for name in [COOKIE, AUTHORIZATION, HeaderName::from_static("api-key")] {
                headers.insert(name, value.clone());
            }
            let _ = Carrier::parse(carriers[from]).unwrap().read(&headers);
        }

        #[test]
        fn a_cookie_that_is_read_is_the_only_one_of_its_name(line in "[s=;, \"$a]{0,24}") {
            let lines = [("cookie", &*line)];
            if let Ok(Some(value)) = Carrier::Cookie("s".to_owned()).read(&headers(&lines)) {
                prop_assert!(!value.contains([',', '"', ' ', ';']));
                let pieces = line.split([';', ',', '"', ' ']);
                prop_assert_eq!(pieces.filter(|piece| piece.starts_with("s=")).count(), 1);
            }
        }
    }
}
