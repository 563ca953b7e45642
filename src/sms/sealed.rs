//! A message as it lies in the outbox: address and text, sealed; a code's for its challenge.
//!
//! Never readable without the master key, and never as the message of another challenge. Invariant: what an earlier
//! version has sealed, which knew text messages only, is read.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Letter;
use super::mail::Mail;
use crate::crypto::Keyring;
use crate::store::Message;
use crate::types::ChallengeId;

/// A message by the way that it takes.
pub enum Post {
    Sms(Letter),
    Mail(Mail),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Plain {
    Notice(Notice),
    Code(Text),
}

#[derive(Serialize, Deserialize)]
struct Text {
    number: Zeroizing<String>,
    text: Zeroizing<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "channel", rename_all = "snake_case")]
enum Notice {
    Sms(Text),
    Mail(Mail),
}

/// Seals a code's message for its challenge.
pub fn seal(keyring: &Keyring, challenge: &ChallengeId, number: &str, text: &str) -> Vec<u8> {
    let text = Text { number: number.to_owned().into(), text: text.to_owned().into() };
    keyring.seal(CODE, &[challenge.as_str().as_bytes()], &json(&Plain::Code(text)))
}

/// Seals the letter of a notice that goes as a text message.
pub fn seal_text(keyring: &Keyring, number: &str, text: &str) -> Vec<u8> {
    let text = Text { number: number.to_owned().into(), text: text.to_owned().into() };
    keyring.seal(NOTICE, &[], &json(&Plain::Notice(Notice::Sms(text))))
}

/// Seals the letter of a notice that goes by mail.
pub fn seal_mail(keyring: &Keyring, mail: Mail) -> Vec<u8> {
    keyring.seal(NOTICE, &[], &json(&Plain::Notice(Notice::Mail(mail))))
}

/// The message, if it is one of ours and, for a code, of this challenge.
pub fn open(keyring: &Keyring, message: &Message) -> Option<Post> {
    let plain = match &message.challenge {
        Some(challenge) => {
            keyring.open(CODE, &[challenge.as_str().as_bytes()], &message.sealed).ok()?
        }
        None => keyring.open(NOTICE, &[], &message.sealed).ok()?,
    };
    let letter = |Text { number, text }| Post::Sms(Letter { id: message.id, number, text });
    Some(match serde_json::from_slice(&plain).ok()? {
        Plain::Code(text) | Plain::Notice(Notice::Sms(text)) => letter(text),
        Plain::Notice(Notice::Mail(mail)) => Post::Mail(mail),
    })
}

/// Strings always serialise; an empty message would be dropped by `open`.
fn json(plain: &Plain) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(plain).unwrap_or_default())
}

const CODE: &str = "sms";
const NOTICE: &str = "notice";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Source;
    use crate::types::UnixMs;

    fn keyring() -> Keyring {
        let source = Source::new("master.key", "k1 BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
        Keyring::parse(&source, &mut Vec::new()).unwrap()
    }

    fn message(challenge: Option<&str>, sealed: Vec<u8>) -> Message {
        let challenge = challenge.map(ChallengeId::new);
        Message { id: 7, challenge, sealed, expires: UnixMs(1), tries: 1 }
    }

    #[test]
    fn a_code_opens_for_its_challenge_only_and_never_as_a_notice() {
        let keyring = keyring();
        let sealed = seal(&keyring, &ChallengeId::new("c"), "+4915112345667", "Code 123456");
        let opened = open(&keyring, &message(Some("c"), sealed.clone()));
        assert!(matches!(opened, Some(Post::Sms(letter)) if *letter.text == "Code 123456"));
        assert!(open(&keyring, &message(Some("d"), sealed.clone())).is_none());
        assert!(open(&keyring, &message(None, sealed)).is_none());
    }

    #[test]
    fn a_notice_says_its_channel() {
        let keyring = keyring();
        let text = seal_text(&keyring, "+4915112345667", "Not you?");
        let opened = open(&keyring, &message(None, text));
        assert!(matches!(opened, Some(Post::Sms(letter)) if letter.id == 7));
        let mail = super::super::mail::fake::mail();
        let opened = open(&keyring, &message(None, seal_mail(&keyring, mail)));
        assert!(matches!(opened, Some(Post::Mail(mail)) if *mail.to == "alice@mail.example"));
    }
}
