//! Which program asked, in words that its owner knows: "Chrome" and "Windows", from its `User-Agent`.
//!
//! Pure. Never shows what a client sent: only names of this file's table. Invariant: it is what the client says of
//! itself, so nothing is ever decided by it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub program: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<Cow<'static, str>>,
}

impl Device {
    /// `None` for a program that the table does not know.
    pub fn of(user_agent: &str) -> Option<Self> {
        let head = user_agent.get(..user_agent.len().min(BYTES_MAX))?;
        let find = |table: &[(&str, &'static str)]| {
            table.iter().find(|(mark, _)| head.contains(mark)).map(|(_, name)| Cow::Borrowed(*name))
        };
        Some(Self { program: find(PROGRAMS)?, system: find(SYSTEMS) })
    }
}

/// Browsers that call themselves by another one's name too come before it.
const PROGRAMS: &[(&str, &str)] = &[
    ("Edg/", "Microsoft Edge"),
    ("EdgA/", "Microsoft Edge"),
    ("EdgiOS/", "Microsoft Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("MicroMessenger/", "WeChat"),
    (" Line/", "LINE"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("ccxt", "ccxt"),
    ("python", "Python"),
    ("Python", "Python"),
    ("aiohttp", "Python"),
    ("curl/", "curl"),
    ("Go-http-client", "Go"),
    ("okhttp", "Java"),
    ("Java/", "Java"),
    ("node", "Node.js"),
    ("axios", "Node.js"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "Mac"),
    ("Linux", "Linux"),
];

/// What stands behind these is not looked at.
const BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_clients_are_called_what_people_call_them() {
        let cases = [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
                "Microsoft Edge",
                Some("Windows"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
                "Safari",
                Some("iPhone"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
                "Samsung Internet",
                Some("Android"),
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 Firefox/127.0",
                "Firefox",
                Some("Mac"),
            ),
            ("python-requests/2.32.3", "Python", None),
            ("curl/8.9.1", "curl", None),
        ];
        for (agent, program, system) in cases {
            let device = Device::of(agent).unwrap();
            assert_eq!((&*device.program, device.system.as_deref()), (program, system), "{agent}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_a_client_sends_comes_back(agent in ".{0,600}") {
            if let Some(device) = Device::of(&agent) {
                let known = |table: &[(&str, &str)], name: &str| table.iter().any(|(_, it)| *it == name);
                proptest::prop_assert!(known(PROGRAMS, &device.program));
                proptest::prop_assert!(device.system.is_none_or(|system| known(SYSTEMS, &system)));
            }
        }
    }
}
