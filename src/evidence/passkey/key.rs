//! The public key of a passkey (`COSE_Key`, RFC 9053), and whether a signature is its.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};

/// The algorithms that passkeys may use, by their COSE numbers: ES256, `EdDSA`, RS256; the best first.
pub const ALGORITHMS: [i32; 3] = [-7, -8, -257];
/// How many members a key may have.
const MAX_MEMBERS: u64 = 16;
/// The largest RSA modulus, in bytes.
const MAX_MODULUS: usize = 1024;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// A point on P-256, uncompressed.
    Es256([u8; 65]),
    /// A point on edwards25519.
    EdDsa([u8; 32]),
    /// Modulus and exponent.
    Rs256 {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

impl PublicKey {
    /// Reads a `COSE_Key` at the beginning of `bytes`; gives what is left of them.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader { left: bytes };
        let members = Members::read(&mut reader)?;
        let key = match (members.kind?, members.algorithm?) {
            (2, -7) if members.curve == Some(1) => {
                let mut point = [4; 65];
                point.get_mut(1..33)?.copy_from_slice(members.x.filter(|x| x.len() == 32)?);
                point.get_mut(33..)?.copy_from_slice(members.y.filter(|y| y.len() == 32)?);
                Self::Es256(point)
            }
            (1, -8) if members.curve == Some(6) => Self::EdDsa(members.x?.try_into().ok()?),
            (3, -257) => {
                let n = members.modulus.filter(|n| n.len() <= MAX_MODULUS)?;
                let e = members.x.filter(|e| e.len() <= 8)?;
                Self::Rs256 { n: n.to_vec(), e: e.to_vec() }
            }
            _ => return None,
        };
        Some((key, reader.left))
    }

    /// The algorithm's name.
    #[must_use]
    pub const fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
            Self::Rs256 { .. } => "RS256",
        }
    }

    /// Whether the holder of the key signed `message`.
    #[must_use]
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::EdDsa(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            Self::Rs256 { n, e } => {
                let key = PublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        };
        verified.is_ok()
    }
}

/// The members of a key that mean anything here. What stands at -1 and -2 depends on the kind.
#[derive(Default)]
struct Members<'a> {
    kind: Option<i64>,
    algorithm: Option<i64>,
    curve: Option<i64>,
    modulus: Option<&'a [u8]>,
    x: Option<&'a [u8]>,
    y: Option<&'a [u8]>,
}

impl<'a> Members<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let count = match reader.head()? {
            (5, count) if count <= MAX_MEMBERS => count,
            _ => return None,
        };
        let mut members = Self::default();
        let mut labels = Vec::new();
        for _ in 0..count {
            let label = reader.item()?.int()?;
            if labels.contains(&label) {
                return None;
            }
            labels.push(label);
            match (label, reader.item()?) {
                (1, Item::Int(kind)) => members.kind = Some(kind),
                (3, Item::Int(algorithm)) => members.algorithm = Some(algorithm),
                (-1, Item::Int(curve)) => members.curve = Some(curve),
                (-1, Item::Bytes(modulus)) => members.modulus = Some(modulus),
                (-2, Item::Bytes(x)) => members.x = Some(x),
                (-3, Item::Bytes(y)) => members.y = Some(y),
                _ => {}
            }
        }
        Some(members)
    }
}

enum Item<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

impl Item<'_> {
    const fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bytes(_) => None,
        }
    }
}

/// Reads the part of CBOR (RFC 8949) that a key is made of: maps of integers to integers and byte strings, of
/// definite length.
struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(count)?;
        self.left = left;
        Some(taken)
    }

    /// The major type of the next item, and its number.
    fn head(&mut self) -> Option<(u8, u64)> {
        let first = *self.take(1)?.first()?;
        let number = match first & 0x1f {
            small @ 0..24 => u64::from(small),
            long @ 24..=27 => {
                let bytes = self.take(1 << (long - 24))?;
                bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
            _ => return None,
        };
        Some((first >> 5, number))
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let (major, number) = self.head()?;
        match major {
            0 => Some(Item::Int(i64::try_from(number).ok()?)),
            1 => Some(Item::Int(-1 - i64::try_from(number).ok()?)),
            2 => Some(Item::Bytes(self.take(usize::try_from(number).ok()?)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn es256(x: &[u8], y: &[u8]) -> Vec<u8> {
        let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, x.len() as u8];
        key.extend(x);
        key.extend([0x22, 0x58, y.len() as u8]);
        key.extend(y);
        key
    }

    #[test]
    fn a_key_is_read_and_what_follows_is_left() {
        let mut bytes = es256(&[1; 32], &[2; 32]);
        bytes.extend([7, 7]);
        let (key, left) = PublicKey::read(&bytes).unwrap();
        let PublicKey::Es256(point) = &key else { panic!("{key:?}") };
        assert_eq!((point[0], point[1], point[64]), (4, 1, 2));
        assert_eq!((left, key.algorithm()), (&[7, 7][..], "ES256"));
    }

    #[test]
    fn what_is_no_key_is_none() {
        let good = es256(&[1; 32], &[2; 32]);
        for cut in 0..good.len() {
            assert_eq!(PublicKey::read(&good[..cut]), None, "cut at {cut}");
        }
        assert_eq!(PublicKey::read(&es256(&[1; 31], &[2; 32])), None);
        // Another algorithm or curve, a member twice, a map without an end.
        for (at, byte) in [(4, 0x25), (6, 0x02), (1, 0x03), (0, 0xbf)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(PublicKey::read(&bad), None, "{at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            drop(PublicKey::read(&bytes));
        }
    }
}
