//! What browser and authenticator say in a ceremony (`WebAuthn` Level 3, sections 5.8.1 and 6.1).

use http::Uri;
use serde::Deserialize;

use super::key::PublicKey;
use crate::digest::Digest;
use crate::json;

/// The bits of the flags: somebody was there, and was verified; a key follows; extensions follow.
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const HAS_KEY: u8 = 0x40;
const HAS_EXTENSIONS: u8 = 0x80;
/// How long the authenticator's identifier of its model is, in bytes.
const MODEL: usize = 16;
/// The longest identifier of a passkey, in bytes.
pub const MAX_ID: usize = 1023;

/// What the browser collected.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    /// The challenge that it answers, in base64url.
    pub challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

impl ClientData {
    /// Reads the JSON of it; none when it is not.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_value(json::parse(bytes).ok()?).ok()
    }

    /// Whether it was collected for this, on a page of this origin that no other page framed.
    #[must_use]
    pub fn is_for(&self, kind: &str, origin: &str) -> bool {
        self.kind == kind && self.origin == origin && !self.cross_origin
    }

    /// The origin of the page that asked.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether a known passkey answered this challenge, on a page that no other page framed.
    #[must_use]
    pub fn is_answer_to(&self, challenge: &str) -> bool {
        self.kind == "webauthn.get" && self.challenge == challenge && !self.cross_origin
    }

    /// Whether it was collected under this domain, where nobody on the way could change the page.
    #[must_use]
    pub fn is_under(&self, domain: &str) -> bool {
        let Ok(origin) = self.origin.parse::<Uri>() else { return false };
        let (Some(scheme), Some(authority)) = (origin.scheme_str(), origin.authority()) else {
            return false;
        };
        // An origin ends with its host or port: what follows could be another host to another reader.
        let bare = self.origin == format!("{scheme}://{authority}");
        let safe = scheme == "https" || (scheme == "http" && domain == "localhost");
        let port = authority.as_str().strip_prefix(domain);
        let named = port.is_some_and(|port| port.is_empty() || is_port(port));
        bare && safe && named
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// What the authenticator says.
#[derive(Debug)]
pub struct AuthenticatorData<'a> {
    domain: &'a [u8],
    flags: u8,
    /// How often it signed, as it says.
    pub counter: u32,
    /// The identifier, the key, and the key as it was written.
    pub key: Option<(&'a [u8], PublicKey, &'a [u8])>,
}

impl<'a> AuthenticatorData<'a> {
    /// Reads all of `bytes`; none when they are not exactly that.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (domain, left) = bytes.split_at_checked(32)?;
        let (&flags, left) = left.split_first()?;
        let (counter, mut left) = left.split_at_checked(4)?;
        let counter = u32::from_be_bytes(counter.try_into().ok()?);
        let mut key = None;
        if flags & HAS_KEY != 0 {
            let (_, rest) = left.split_at_checked(MODEL)?;
            let (length, rest) = rest.split_at_checked(2)?;
            let length = u16::from_be_bytes(length.try_into().ok()?);
            let (id, rest) = rest.split_at_checked(usize::from(length))?;
            let (public, after) = PublicKey::read(rest)?;
            let written = rest.get(..rest.len() - after.len())?;
            if id.is_empty() || id.len() > MAX_ID {
                return None;
            }
            key = Some((id, public, written));
            left = after;
        }
        // Nobody asked for extensions; what an authenticator adds by itself means nothing here.
        let ends = left.is_empty() || flags & HAS_EXTENSIONS != 0;
        ends.then_some(Self { domain, flags, counter, key })
    }

    /// Whether it was made for this domain, by a person who was there and was verified.
    #[must_use]
    pub fn is_for(&self, domain: &str) -> bool {
        self.is_of(domain) && self.is_verified()
    }

    /// Whether it was made for this domain.
    #[must_use]
    pub fn is_of(&self, domain: &str) -> bool {
        self.domain == Digest::of(domain.as_bytes()).as_bytes()
    }

    /// Whether a person was there, and was verified.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        let both = PRESENT | VERIFIED;
        self.flags & both == both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(flags: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = Digest::of(b"localhost").as_bytes().to_vec();
        bytes.push(flags);
        bytes.extend([0, 0, 1, 2]);
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn a_person_must_have_been_there_and_verified() {
        for (flags, good) in [(0x05, true), (0x01, false), (0x04, false), (0x00, false)] {
            let bytes = data(flags, &[]);
            let read = AuthenticatorData::read(&bytes).unwrap();
            assert_eq!((read.is_for("localhost"), read.counter), (good, 258), "{flags:x}");
            assert!(!read.is_for("localhost.example"));
        }
    }

    #[test]
    fn bytes_too_many_or_too_few_are_none() {
        assert!(AuthenticatorData::read(&data(5, &[1])).is_none());
        assert!(AuthenticatorData::read(&data(0x85, &[0xa0])).is_some());
        assert!(AuthenticatorData::read(&data(0x45, &[0; 18])).is_none());
        assert!(AuthenticatorData::read(&data(5, &[])[..36]).is_none());
    }

    #[test]
    fn a_framed_page_or_another_one_is_refused() {
        let read = |text: &str| ClientData::read(text.as_bytes());
        let own =
            r#"{"type":"webauthn.get","challenge":"c","origin":"http://localhost:1","more":1}"#;
        let own = read(own).unwrap();
        assert!(own.is_for("webauthn.get", "http://localhost:1"));
        assert!(!own.is_for("webauthn.create", "http://localhost:1"));
        assert!(!own.is_for("webauthn.get", "http://localhost:2"));
        let framed = r#"{"type":"t","challenge":"c","origin":"o","crossOrigin":true}"#;
        assert!(!read(framed).unwrap().is_for("t", "o"));
        let twice = r#"{"type":"t","challenge":"c","origin":"o","origin":"p"}"#;
        assert!(read(twice).is_none());
    }

    #[test]
    fn an_origin_is_of_a_domain_only_as_browsers_write_it() {
        for (origin, domain, under) in [
            ("https://gate.example", "gate.example", true),
            ("https://gate.example:8443", "gate.example", true),
            ("http://localhost:7420", "localhost", true),
            ("http://gate.example", "gate.example", false),
            ("https://evil.example", "gate.example", false),
            ("https://gate.example.evil.example", "gate.example", false),
            ("https://sub.gate.example", "gate.example", false),
            ("https://gate.example@evil.example", "gate.example", false),
            ("https://evil.example@gate.example", "gate.example", false),
            ("https://gate.example/", "gate.example", false),
            ("https://gate.example#x", "gate.example", false),
            ("https://gate.example:8443@evil.example", "gate.example", false),
            ("https://gate.example:x", "gate.example", false),
            ("HTTPS://gate.example", "gate.example", false),
            ("https://gate.example?x", "gate.example", false),
            ("gate.example", "gate.example", false),
            ("android:apk-key-hash:abc", "gate.example", false),
            ("null", "gate.example", false),
        ] {
            let text = format!(r#"{{"type":"t","challenge":"c","origin":"{origin}"}}"#);
            let read = ClientData::read(text.as_bytes()).unwrap();
            assert_eq!(read.is_under(domain), under, "{origin}");
        }
    }
}
