//! `[mail]`: how notices go by e-mail, and what their links begin with.
//!
//! Never accepts a password in the address, nor clear text to another machine. Invariant: what is accepted here can be
//! tried; only the server can say whether it takes mail.

use std::ops::Range;
use std::path::PathBuf;

use super::check::Checker;
use super::{FileRef, SecretRef, file};
use crate::fault::suggest;
use crate::sms::smtp::{Encryption, Server};

/// What `[mail]` says.
#[derive(Clone, Debug)]
pub enum Mail {
    /// Shows mails instead of sending them.
    Log { file: Option<PathBuf> },
    Smtp {
        server: Server,
        from: String,
        ca: Option<FileRef>,
        credentials: Option<SecretRef>,
        /// Of the sender, for what only shows when it is used.
        span: Range<usize>,
    },
}

impl Checker<'_> {
    pub(super) fn mail(&mut self, file: &file::Mail) -> Option<Mail> {
        match file.provider.get_ref().as_str() {
            "log" => Some(Mail::Log { file: file.file.as_ref().map(|path| self.path(path).path) }),
            "smtp" => self.smtp(file),
            other => {
                let help = suggest(other, ["log", "smtp"]);
                self.fault(file.provider.span(), format!("unknown mail provider `{other}`"))
                    .help(help.unwrap_or_else(|| "one of: log, smtp".to_owned()));
                None
            }
        }
    }

    fn smtp(&mut self, file: &file::Mail) -> Option<Mail> {
        let credentials = file.credentials.as_ref().map(|text| self.secret(text));
        let (Some(url), Some(from)) = (&file.url, &file.from) else {
            self.fault(file.provider.span(), "smtp needs `url` and `from`").help(
                "url = \"smtps://mail.example:465\" and from = \"Example <notices@exchange.example>\"",
            );
            return None;
        };
        let ca = file.ca.as_ref().map(|path| self.path(path));
        let server = self.server(url, ca.is_some());
        let credentials = match credentials {
            Some(credentials) => Some(credentials?),
            None => None,
        };
        let span = from.span();
        Some(Mail::Smtp { server: server?, from: from.get_ref().clone(), ca, credentials, span })
    }

    fn server(&mut self, url: &file::Text, has_ca: bool) -> Option<Server> {
        let text = url.get_ref().as_str();
        let (wrapped, authority) =
            match (text.strip_prefix("smtps://"), text.strip_prefix("smtp://")) {
                (Some(rest), _) => (true, rest),
                (None, Some(rest)) => (false, rest),
                (None, None) => {
                    self.fault(
                        url.span(),
                        "the address of a mail server begins with smtps:// or smtp://",
                    )
                    .help("`smtps://host:465`, or `smtp://host:587`, which asks for STARTTLS");
                    return None;
                }
            };
        if authority.contains('@') {
            self.secret_fault(url.span(), "user and password do not belong into the address")
                .help("credentials = \"file:secrets/mail\" with `user:password` in it");
            return None;
        }
        let Some((host, port)) = host_and_port(authority.trim_end_matches('/'), wrapped) else {
            self.fault(url.span(), "not a host and port")
                .help("`smtps://host:465`, or `smtp://host:587`, which asks for STARTTLS");
            return None;
        };
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        let tls = match (wrapped, local && !has_ca) {
            (true, _) => Encryption::Wrapped,
            (false, false) => Encryption::Upgraded,
            (false, true) => Encryption::None,
        };
        Some(Server { host, port, tls })
    }
}

impl Checker<'_> {
    /// What links to a site begin with: `https://` and its first host, unless the file says otherwise.
    pub(super) fn site_address(&mut self, text: Option<&file::Text>, hosts: &[String]) -> String {
        let default = format!("https://{}", hosts.first().map_or("", String::as_str));
        let Some(address) = text else { return default };
        let authority = address.get_ref().strip_prefix("https://");
        let found = authority.and_then(|authority| host_and_port(authority, true));
        if found.is_some_and(|(host, _)| hosts.contains(&host)) {
            return address.get_ref().clone();
        }
        self.fault(address.span(), "not an address that people reach this site at").help(format!(
            "https:// and one of its hosts, with a port if need be: `{default}:8443`"
        ));
        default
    }
}

fn host_and_port(authority: &str, wrapped: bool) -> Option<(String, u16)> {
    let default = if wrapped { 465 } else { 587 };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            let port = rest.strip_prefix(':');
            if port.is_none() && !rest.is_empty() {
                return None;
            }
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    let sound = !host.is_empty() && host.bytes().all(plain);
    let port = match port {
        None => default,
        Some(digits) => digits.parse().ok().filter(|port| *port > 0)?,
    };
    sound.then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "[listen]\naddress = \"127.0.0.1:1\"\ncertificate = \"c\"\nkey = \"k\"\n\
        [store]\nurl = \"file:s\"\nmaster_key = \"file:m\"\n[audit]\nfile = \"a\"\n\
        [[site]]\nname = \"a\"\nhosts = [\"a.example\"]\nupstream = [\"http://127.0.0.1:1\"]\n\
        policy = \"p\"\n";

    fn read(mail: &str) -> Result<crate::config::Config, Vec<crate::fault::Fault>> {
        let text = format!("{REST}[mail]\n{mail}\n");
        crate::config::parse(&crate::fault::Source::new("stepgate.toml", text))
    }

    #[test]
    fn mail_goes_encrypted_or_not_beyond_this_machine() {
        let tls = |url: &str, more: &str| {
            let mail =
                format!("provider = \"smtp\"\nurl = \"{url}\"\nfrom = \"a@b.example\"\n{more}");
            match read(&mail).unwrap().mail {
                Some(Mail::Smtp { server, .. }) => server.tls,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(tls("smtps://mail.example", ""), Encryption::Wrapped);
        assert_eq!(tls("smtps://localhost", ""), Encryption::Wrapped);
        assert_eq!(tls("smtp://mail.example", ""), Encryption::Upgraded);
        assert_eq!(tls("smtp://127.0.0.1:25", "ca = \"ca.pem\""), Encryption::Upgraded);
        assert_eq!(tls("smtp://127.0.0.1:25", ""), Encryption::None);
    }

    #[test]
    fn faults_point_at_the_line_and_show_no_password() {
        for (mail, says) in [
            ("provider = \"sendmail\"", "unknown mail provider `sendmail`"),
            ("provider = \"smtp\"", "smtp needs `url` and `from`"),
            (
                "provider = \"smtp\"\nurl = \"mail.example\"\nfrom = \"a@b.example\"",
                "begins with smtps:// or smtp://",
            ),
            (
                "provider = \"smtp\"\nurl = \"smtps://u:hunter2@mail.example\"\nfrom = \"a@b.example\"",
                "user and password do not belong into the address",
            ),
            (
                "provider = \"smtp\"\nurl = \"smtps://a.example\"\nfrom = \"a@b.example\"\ncredentials = \"u:hunter2\"",
                "a secret is never written inline",
            ),
        ] {
            let faults = read(mail).unwrap_err();
            let shown: String = faults.iter().map(crate::fault::Fault::render).collect();
            assert!(shown.contains(says), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(faults[0].position().0 >= 16, "{shown}");
        }
    }

    #[test]
    fn links_begin_with_a_host_of_the_site() {
        let address = |line: &str| {
            let text = REST.replace("policy = \"p\"\n", &format!("policy = \"p\"\n{line}\n"));
            let config = crate::config::parse(&crate::fault::Source::new("stepgate.toml", text));
            config.map(|config| config.sites[0].address.clone())
        };
        assert_eq!(address("").unwrap(), "https://a.example");
        let own = "address = \"https://a.example:8443\"";
        assert_eq!(address(own).unwrap(), "https://a.example:8443");
        for bad in ["http://a.example", "https://evil.example", "https://a.example/x", "a.example"]
        {
            assert!(address(&format!("address = \"{bad}\"")).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_and_ports_are_read_and_nothing_else() {
        let read = |text| host_and_port(text, true);
        assert_eq!(read("mail.example"), Some(("mail.example".to_owned(), 465)));
        assert_eq!(host_and_port("mail.example", false).unwrap().1, 587);
        assert_eq!(read("Mail.example:2525"), Some(("mail.example".to_owned(), 2525)));
        assert_eq!(read("[::1]:25"), Some(("::1".to_owned(), 25)));
        for bad in ["", ":25", "mail.example:", "mail.example:0", "a/b", "a:1:2", "[x]:1", "a b"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
