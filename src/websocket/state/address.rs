use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

/// An address without padding, which makes every connection smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PeerAddress {
    #[default]
    Unknown,
    V4 {
        ip: [u8; 4],
        port: [u8; 2],
    },
    V6 {
        ip: [u8; 16],
        port: [u8; 2],
        flow: [u8; 4],
        scope: [u8; 4],
    },
}

impl From<Option<SocketAddr>> for PeerAddress {
    fn from(address: Option<SocketAddr>) -> PeerAddress {
        match address {
            None => PeerAddress::Unknown,
            Some(SocketAddr::V4(address)) => {
                PeerAddress::V4 { ip: address.ip().octets(), port: address.port().to_ne_bytes() }
            }
            Some(SocketAddr::V6(address)) => PeerAddress::V6 {
                ip: address.ip().octets(),
                port: address.port().to_ne_bytes(),
                flow: address.flowinfo().to_ne_bytes(),
                scope: address.scope_id().to_ne_bytes(),
            },
        }
    }
}

impl PeerAddress {
    pub(crate) fn get(self) -> Option<SocketAddr> {
        Some(match self {
            PeerAddress::Unknown => return None,
            PeerAddress::V4 { ip, port } => (ip, u16::from_ne_bytes(port)).into(),
            PeerAddress::V6 { ip, port, flow, scope } => {
                let (flow, scope) = (u32::from_ne_bytes(flow), u32::from_ne_bytes(scope));
                SocketAddrV6::new(Ipv6Addr::from(ip), u16::from_ne_bytes(port), flow, scope).into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_when_it_is_read() {
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 443, 7, 3).into();
        for address in [None, Some(scoped), "127.0.0.1:80".parse().ok(), "[2001:db8::1]:65535".parse().ok()] {
            assert_eq!(PeerAddress::from(address).get(), address);
        }
        assert_eq!(size_of::<PeerAddress>(), 27);
    }
}
