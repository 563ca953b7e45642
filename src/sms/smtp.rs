//! E-mail over SMTP: one connection for each mail, encrypted or not beyond this machine.
//!
//! Never sends in clear text to another machine, and never shows its password. Invariant: only a server that took the
//! whole mail counts as delivery; one that does not know us is tried again, because that is ours to put right.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use super::mail::{Carrier, Mail};
use super::{BoxFuture, SendError, SetupError, TIMEOUT_MS};

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub tls: Encryption,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From the first byte (`smtps://`).
    Wrapped,
    /// STARTTLS, and no mail without it (`smtp://`).
    Upgraded,
    /// To this machine only.
    None,
}

/// A mail server.
#[derive(Clone)]
pub struct Smtp {
    server: Server,
    from: Mailbox,
    /// What message ids end with.
    domain: String,
    tls: Tls,
    credentials: Option<Arc<(String, Zeroizing<String>)>>,
    /// A connection is made and dropped on this runtime.
    background: Handle,
}

impl Smtp {
    /// `from` is an address, alone or with a name: `Example <notices@exchange.example>`. `ca` is the PEM of the
    /// authorities that sign the server's certificate, else the system's; `credentials` the file's text:
    /// `user:password`.
    ///
    /// # Errors
    /// `SetupError` if one of them cannot be used.
    pub fn new(
        server: Server,
        from: &str,
        ca: Option<&str>,
        credentials: Option<&str>,
        background: Handle,
    ) -> Result<Self, SetupError> {
        let from: Mailbox = from.parse().map_err(|_| SetupError::Sender)?;
        let domain = from.email.domain().to_owned();
        let credentials = credentials.map(user_and_password).transpose()?;
        let tls = match server.tls {
            Encryption::None => Tls::None,
            Encryption::Wrapped => Tls::Wrapper(parameters(&server.host, ca)?),
            Encryption::Upgraded => Tls::Required(parameters(&server.host, ca)?),
        };
        Ok(Self { server, from, domain, tls, credentials: credentials.map(Arc::new), background })
    }

    /// Where it is, for people.
    pub fn name(&self) -> String {
        format!("{}:{}", self.server.host, self.server.port)
    }

    /// Connects, says who we are, and leaves.
    ///
    /// # Errors
    /// What the server or the way to it says.
    pub async fn examine(&self) -> Result<(), SendError> {
        let smtp = self.clone();
        self.run(async move {
            match smtp.transport().test_connection().await {
                Ok(true) => Ok(()),
                Ok(false) => Err(SendError::Unreachable("the server does not answer".into())),
                Err(error) => Err(judged(error)),
            }
        })
        .await
    }

    /// Only inside a runtime.
    fn transport(&self) -> AsyncSmtpTransport<Tokio1Executor> {
        let builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.server.host.as_str())
                .port(self.server.port)
                .tls(self.tls.clone())
                .timeout(Some(Duration::from_millis(TIMEOUT_MS)));
        match self.credentials.as_deref() {
            Some((user, password)) => {
                builder.credentials(Credentials::new(user.clone(), password.to_string())).build()
            }
            None => builder.build(),
        }
    }

    fn message(&self, mail: &Mail) -> Result<(Envelope, Vec<u8>), SendError> {
        let unwritable = |_| SendError::BadLetter;
        let to: Address = mail.to.parse().map_err(unwritable)?;
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(one_line(&mail.subject))
            .message_id(Some(format!("<{}@{}>", mail.id, self.domain)))
            .multipart(MultiPart::alternative_plain_html(
                mail.text.to_string(),
                mail.html.to_string(),
            ))
            .map_err(|_| SendError::BadLetter)?;
        // RFC 3834: nobody's holiday note is to answer it.
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(name, "auto-generated".to_owned()));
        Ok((message.envelope().clone(), message.formatted()))
    }

    /// On the background runtime, wherever the caller is, and not for longer than a try may take.
    async fn run(
        &self,
        work: impl Future<Output = Result<(), SendError>> + Send + 'static,
    ) -> Result<(), SendError> {
        let limit = Duration::from_millis(TIMEOUT_MS);
        let work = async move {
            let late = || SendError::Unreachable("no answer in time".into());
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
        };
        AbortOnDropHandle::new(self.background.spawn(work))
            .await
            .unwrap_or_else(|_| Err(SendError::Unreachable("the gateway is stopping".into())))
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Carrier for Smtp {
    fn deliver<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let (envelope, bytes) = self.message(mail)?;
            let smtp = self.clone();
            self.run(async move {
                let sent = smtp.transport().send_raw(&envelope, &bytes).await;
                sent.map(drop).map_err(judged)
            })
            .await
        })
    }
}

/// 4xx later, 5xx never; what we said of ourselves (RFC 4954: 530, 534, 535, 538) is tried again, because a password that
/// is put right an hour later must not have cost every notice in between.
fn judged(error: lettre::transport::smtp::Error) -> SendError {
    let status = error.status().map(u16::from);
    match status {
        Some(status) if error.is_permanent() && !matches!(status, 530 | 534 | 535 | 538) => {
            SendError::Refused { status }
        }
        Some(status) => SendError::Busy { status, after_ms: None },
        None => SendError::Unreachable(error.into()),
    }
}

fn user_and_password(text: &str) -> Result<(String, Zeroizing<String>), SetupError> {
    let (user, password) = text.trim().split_once(':').ok_or(SetupError::MailCredentials)?;
    if user.is_empty() || password.is_empty() {
        return Err(SetupError::MailCredentials);
    }
    Ok((user.to_owned(), password.to_owned().into()))
}

fn parameters(host: &str, ca: Option<&str>) -> Result<TlsParameters, SetupError> {
    let unusable = |_| SetupError::Authorities;
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = ca {
        // A file without any is no fault to the library: every server would be a stranger then.
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(SetupError::Authorities);
        }
        let authorities = Certificate::from_pem(pem.as_bytes()).map_err(unusable)?;
        builder =
            builder.certificate_store(CertificateStore::None).add_root_certificate(authorities);
    }
    builder.build_rustls().map_err(unusable)
}

/// Values were cleaned where the words were put together; whatever came through does not begin another header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::mail::fake::mail;
    use super::*;

    fn server(tls: Encryption) -> Server {
        Server { host: "mail.example".to_owned(), port: 465, tls }
    }

    fn smtp(from: &str, credentials: Option<&str>) -> Result<Smtp, SetupError> {
        Smtp::new(server(Encryption::None), from, None, credentials, Handle::current())
    }

    fn written(mail: &Mail) -> String {
        let smtp = smtp("Example <notices@exchange.example>", None).unwrap();
        String::from_utf8(smtp.message(mail).unwrap().1).unwrap()
    }

    #[tokio::test]
    async fn a_mail_has_both_forms_an_id_and_says_that_a_machine_wrote_it() {
        let text = written(&mail());
        for line in [
            "From: Example <notices@exchange.example>",
            "To: alice@mail.example",
            "Subject: Example: new sign-in",
            "Message-ID: <one@exchange.example>",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
            "Content-Type: text/html; charset=utf-8",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
        }
    }

    #[tokio::test]
    async fn no_value_begins_a_header_and_no_other_address_gets_the_mail() {
        let subject = "x\r\nBcc: eve@evil.example\r\n\r\nbody".to_owned();
        let text = written(&Mail { subject, ..mail() });
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{head}");
        let to = "a@b.example\r\nBcc: eve@evil.example".to_owned();
        let smtp = smtp("notices@exchange.example", None).unwrap();
        let refused = smtp.message(&Mail { to: to.into(), ..mail() });
        assert!(matches!(refused, Err(SendError::BadLetter)));
    }

    #[tokio::test]
    async fn a_sender_and_credentials_that_cannot_be_used_are_refused() {
        assert!(matches!(smtp("nobody", None), Err(SetupError::Sender)));
        for bad in ["", "user", "user:", ":password"] {
            let said = smtp("a@b.example", Some(bad));
            assert!(matches!(said, Err(SetupError::MailCredentials)), "{bad:?}");
        }
        let ca = Smtp::new(
            server(Encryption::Wrapped),
            "a@b.example",
            Some("no certificate"),
            None,
            Handle::current(),
        );
        assert!(ca.is_err());
        let shown = format!("{:?}", smtp("a@b.example", Some("user:secret")).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
