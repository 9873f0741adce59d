//! How many connections or requests each address has, so that one cannot take all places.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::edge::Network;

/// The places that addresses take. It holds no more addresses than there are places taken.
pub(super) struct Addresses {
    taken: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
    trusted: Vec<Network>,
}

impl Addresses {
    /// Each address may have `most`, but loopback and the `trusted` ones as many as there are.
    pub(super) fn new(most: usize, trusted: Vec<Network>) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), most, trusted })
    }

    /// Whether `address` is one whose places are not counted.
    pub(super) fn is_free(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() || self.is_trusted(address)
    }

    pub(super) fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(address))
    }

    pub(super) fn trusted(&self) -> &[Network] {
        &self.trusted
    }

    /// One more place for `address`, until the guard is dropped; none when it has all it may have.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let key = site(address);
        let mut taken = self.lock();
        let count = taken.entry(key).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { all: Arc::clone(self), key })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has one address of IPv6 has its /64.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// A place that an address has taken.
pub(super) struct Place {
    all: Arc<Addresses>,
    key: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.all.lock();
        if let Some(count) = taken.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_no_more() {
        let all = Addresses::new(2, vec![Network::try_from("10.0.0.7".to_owned()).unwrap()]);
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let taken = [all.take(one), all.take(one)];
        assert!(taken.iter().all(Option::is_some));
        assert!(all.take("::ffff:192.0.2.1".parse().unwrap()).is_none());
        assert!(all.take(two).is_some());
        drop(taken);
        assert!(all.lock().is_empty());
        let site =
            [all.take("2001:db8::1".parse().unwrap()), all.take("2001:db8::2".parse().unwrap())];
        assert!(all.take("2001:db8::3".parse().unwrap()).is_none());
        assert!(all.take("2001:db8:0:1::3".parse().unwrap()).is_some());
        drop(site);
        assert!(all.is_free("127.0.0.9".parse().unwrap()));
        assert!(all.is_free("10.0.0.7".parse().unwrap()));
        assert!(!all.is_free(one));
    }
}
