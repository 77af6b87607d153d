use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

/// Networks that an app has named.
#[derive(Clone, Debug)]
pub(crate) struct Networks(Arc<[IpNet]>);

impl Networks {
    /// Parses networks. A network is written as `10.0.0.0/8` or `fd00::/8`, and a single address
    /// without a prefix length.
    ///
    /// # Panics
    /// If an entry is not a network.
    #[track_caller]
    pub(crate) fn parse<S: AsRef<str>>(networks: impl IntoIterator<Item = S>) -> Networks {
        let mut parsed = Vec::new();
        for text in networks {
            let text = text.as_ref();
            match network(text) {
                Some(network) => parsed.push(network),
                None => panic!("{text:?} is not a network; write `10.0.0.0/8`, `fd00::/8`, or one address"),
            }
        }
        Networks(parsed.into())
    }

    /// Returns whether an address is in one of the networks.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Parses a network, or one address as a network. An IPv4 network in IPv6 form is an IPv4 network.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    if let IpNet::V6(network) = network
        && let Some(address) = network.addr().to_ipv4_mapped()
        && let Some(length) = network.prefix_len().checked_sub(96)
    {
        return Ipv4Net::new(address, length).ok().map(IpNet::V4);
    }
    Some(network)
}
