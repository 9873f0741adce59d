//! Whose an address is, by the registries of special addresses (RFC 6890 and what came after it).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anybody's on the internet.
    Public,
    /// This machine's.
    Loopback,
    /// A network's of its own (RFC 1918, RFC 4193).
    Private,
    /// Nobody's that one would name, in words.
    Other(&'static str),
}

/// Networks of version 4 that are not public: address, length of the prefix, and what they are.
const SPECIAL: [(Ipv4Addr, u32, Place); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, Place::Other("no address of a machine")),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Place::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Place::Other("an address of a provider's own network")),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Place::Loopback),
    // Where the platform of Azure answers.
    (Ipv4Addr::new(168, 63, 129, 16), 32, Place::Other("an address of a platform's metadata")),
    (
        Ipv4Addr::new(169, 254, 0, 0),
        16,
        Place::Other("a link-local address, as of metadata services"),
    ),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Place::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Place::Other("reserved")),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Place::Other("for documentation")),
    (Ipv4Addr::new(192, 31, 196, 0), 24, Place::Other("reserved")),
    (Ipv4Addr::new(192, 52, 193, 0), 24, Place::Other("reserved")),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Place::Other("a relay's")),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Place::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Place::Other("for measurements")),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Place::Other("for documentation")),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Place::Other("for documentation")),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Place::Other("a group's")),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Place::Other("reserved")),
];

/// Whose `address` is. One of version 4 within one of version 6 counts as itself.
#[must_use]
pub fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

fn of_v4(address: Ipv4Addr) -> Place {
    let within = |(network, length, _): &&(Ipv4Addr, u32, Place)| {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        address.to_bits() & mask == network.to_bits()
    };
    SPECIAL.iter().find(within).map_or(Place::Public, |(_, _, place)| *place)
}

fn of_v6(address: Ipv6Addr) -> Place {
    let last = |bits: u128| of_v4(Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32));
    let bits = address.to_bits();
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Place::Other("no address of a machine"),
        // Mapped, compatible (RFC 4291), translated (RFC 2765, RFC 6052).
        [0, 0, 0, 0, 0, 0xffff | 0, _, _]
        | [0, 0, 0, 0, 0xffff, 0, _, _]
        | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => last(bits),
        // 6to4 (RFC 3056).
        [0x2002, ..] => match last(bits >> 80) {
            Place::Public => Place::Public,
            Place::Loopback | Place::Private | Place::Other(_) => {
                Place::Other("6to4 of a private address")
            }
        },
        // Where the platforms of Amazon and Google answer.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            Place::Other("an address of a platform's metadata")
        }
        [0xfc00..=0xfdff, ..] => Place::Private,
        [0xfe80..=0xfebf, ..] => Place::Other("a link-local address"),
        [0xff00..=0xffff, ..] => Place::Other("a group's"),
        [0x2001, 0..=0x1ff, ..] => Place::Other("reserved"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Place::Other("for documentation"),
        [0x2000..=0x3fff, ..] => Place::Public,
        _ => Place::Other("reserved"),
    }
}
