//! Which resolved addresses a plugin may reach, whatever name led there. An IPv6 address that carries an IPv4 one is judged as
//! both, so that no notation of a forbidden address is allowed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// The rules for addresses. By default a plugin reaches public and private unicast addresses (backends live in the cluster),
/// and nothing of the adapter's own machine or the cloud's.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    /// Networks in which loopback addresses are allowed after all: the operator's word, for local use and tests. They lift no
    /// other rule.
    pub loopback: Vec<IpNet>,
    /// Where the API server answers. What plugins may know of the cluster comes through `objects`.
    pub api_server: Vec<SocketAddr>,
    /// Where the adapter itself answers: a plugin that asks it asks itself.
    pub adapter: Vec<SocketAddr>,
}

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ForbiddenAddress {
    /// 0.0.0.0/8 and ::, which Linux takes for the machine itself.
    #[error("an unspecified address")]
    Unspecified,
    /// 127.0.0.0/8 and ::1.
    #[error("a loopback address")]
    Loopback,
    /// 169.254.0.0/16 and fe80::/10, where clouds keep their metadata services.
    #[error("a link-local address")]
    LinkLocal,
    /// A cloud's metadata service at an address of its own.
    #[error("a cloud metadata service")]
    Metadata,
    /// One to many.
    #[error("a multicast or broadcast address")]
    Multicast,
    /// Set aside by IANA for something else than hosts.
    #[error("a reserved address")]
    Reserved,
    /// The API server of this cluster.
    #[error("the address of the API server")]
    ApiServer,
    /// The adapter's own listener.
    #[error("the adapter's own address")]
    Adapter,
}

/// Metadata services outside link-local and reserved ranges, as their vendors document them: Alibaba Cloud, Azure's wire server;
/// AWS, Google Cloud and Scaleway over IPv6.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

impl AddressPolicy {
    /// The same for whom no exception holds.
    #[must_use]
    pub fn strict(&self) -> Self {
        Self { loopback: Vec::new(), ..self.clone() }
    }

    /// Checks an address that is about to be dialled.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks, in any of the forms that it carries.
    pub fn check(&self, address: SocketAddr) -> Result<(), ForbiddenAddress> {
        let IpAddr::V6(outer) = address.ip().to_canonical() else { return self.check_one(address) };
        for inner in embedded(outer) {
            self.check_one(SocketAddr::new(inner.into(), address.port()))?;
        }
        self.check_one(address)
    }

    fn check_one(&self, address: SocketAddr) -> Result<(), ForbiddenAddress> {
        let ip = address.ip().to_canonical();
        let same = |server: &SocketAddr| server.ip().to_canonical() == ip && server.port() == address.port();
        if self.api_server.iter().any(same) {
            return Err(ForbiddenAddress::ApiServer);
        }
        if self.adapter.iter().any(same) {
            return Err(ForbiddenAddress::Adapter);
        }
        let excepted = || self.loopback.iter().any(|network| network.contains(&ip));
        match class(ip) {
            Some(ForbiddenAddress::Loopback) if excepted() => Ok(()),
            Some(forbidden) => Err(forbidden),
            None => Ok(()),
        }
    }
}

fn class(ip: IpAddr) -> Option<ForbiddenAddress> {
    match ip {
        IpAddr::V4(ip) => class_v4(ip),
        IpAddr::V6(ip) => class_v6(ip),
    }
}

/// IPv4 by the IANA special-purpose registry. Private, shared (100.64.0.0/10) and benchmarking ranges stay allowed: clusters use
/// them for pods.
fn class_v4(ip: Ipv4Addr) -> Option<ForbiddenAddress> {
    let [first, second, third, _] = ip.octets();
    match (first, second, third) {
        _ if METADATA_V4.contains(&ip) => Some(ForbiddenAddress::Metadata),
        (0, ..) => Some(ForbiddenAddress::Unspecified),
        (127, ..) => Some(ForbiddenAddress::Loopback),
        (169, 254, _) => Some(ForbiddenAddress::LinkLocal),
        (224..=239, ..) => Some(ForbiddenAddress::Multicast),
        _ if ip.is_broadcast() => Some(ForbiddenAddress::Multicast),
        // 192.0.0.0/24 holds Oracle Cloud's metadata service (192.0.0.192) too.
        (192, 0, 0) | (240..=255, ..) => Some(ForbiddenAddress::Reserved),
        // Relays of 6to4, given up (RFC 7526).
        (192, 88, 99) => Some(ForbiddenAddress::Reserved),
        _ if ip.is_documentation() => Some(ForbiddenAddress::Reserved),
        _ => None,
    }
}

/// IPv6 the other way round: only global unicast (2000::/3), unique local (fc00::/7) and the NAT64 prefix are hosts.
fn class_v6(ip: Ipv6Addr) -> Option<ForbiddenAddress> {
    let [first, second, ..] = ip.segments();
    match first {
        _ if METADATA_V6.contains(&ip) => Some(ForbiddenAddress::Metadata),
        _ if ip.is_unspecified() => Some(ForbiddenAddress::Unspecified),
        _ if ip.is_loopback() => Some(ForbiddenAddress::Loopback),
        _ if ip.is_unicast_link_local() => Some(ForbiddenAddress::LinkLocal),
        _ if ip.is_multicast() => Some(ForbiddenAddress::Multicast),
        0x2001 if second == 0xdb8 => Some(ForbiddenAddress::Reserved),
        // Documentation too (RFC 9637).
        0x3fff if second < 0x1000 => Some(ForbiddenAddress::Reserved),
        0x2000..=0x3fff | 0xfc00..=0xfdff => None,
        _ if is_nat64(ip) || is_ipv4_carrier(ip) => None,
        _ => Some(ForbiddenAddress::Reserved),
    }
}

/// The IPv4 addresses inside an IPv6 one. Mapped addresses (::ffff:0:0/96) are made IPv4 before.
fn embedded(ip: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [_, _, third, fourth, fifth, sixth, seventh, eighth, .., a, b, c, d] = ip.octets();
    let last = Ipv4Addr::new(a, b, c, d);
    match ip.segments() {
        _ if is_nat64(ip) || is_ipv4_carrier(ip) => vec![last],
        // 6to4 (RFC 3056).
        [0x2002, ..] => vec![Ipv4Addr::new(third, fourth, fifth, sixth)],
        // Teredo (RFC 4380): the server, and the client with its bits turned over.
        [0x2001, 0, ..] => vec![Ipv4Addr::new(fifth, sixth, seventh, eighth), Ipv4Addr::from_bits(!last.to_bits())],
        // ISATAP (RFC 5214), under any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => vec![last],
        _ => Vec::new(),
    }
}

/// The well-known NAT64 prefix, 64:ff9b::/96 (RFC 6052).
fn is_nat64(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..])
}

/// IPv4-compatible (::a.b.c.d, RFC 4291) and IPv4-translated (::ffff:0:a.b.c.d, RFC 2765), but neither :: nor ::1.
fn is_ipv4_carrier(ip: Ipv6Addr) -> bool {
    let compatible = matches!(ip.segments(), [0, 0, 0, 0, 0, 0, ..]) && !ip.is_unspecified() && !ip.is_loopback();
    compatible || matches!(ip.segments(), [0, 0, 0, 0, 0xffff, 0, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(policy: &AddressPolicy, text: &str) -> Result<(), ForbiddenAddress> {
        policy.check(SocketAddr::new(text.parse().unwrap(), 443))
    }

    #[test]
    fn hosts_are_allowed() {
        for text in [
            "1.1.1.1",
            "10.0.0.7",
            "172.16.3.4",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "fd12:3456::1",
            "fc00::1",
            "::ffff:10.0.0.7",
            "::10.0.0.7",
            "64:ff9b::1.1.1.1",
            "2002:0a00:0007::1",
        ] {
            assert_eq!(verdict(&AddressPolicy::default(), text), Ok(()), "{text}");
        }
    }

    #[test]
    fn forbidden_addresses_are_forbidden_in_every_form() {
        use ForbiddenAddress::{LinkLocal, Loopback, Metadata, Multicast, Reserved, Unspecified};
        for (text, expected) in [
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Unspecified),
            ("::", Unspecified),
            ("::ffff:0.0.0.0", Unspecified),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("::1", Loopback),
            ("::ffff:127.0.0.1", Loopback),
            ("::127.0.0.1", Loopback),
            ("::ffff:0:127.0.0.1", Loopback),
            ("64:ff9b::127.0.0.1", Loopback),
            ("2002:7f00:1::1", Loopback),
            ("2001:0:7f00:1:0:0:f5ff:fffe", Loopback),
            ("2001:0:102:304:0:0:80ff:fffe", Loopback),
            ("2606:4700::5efe:127.0.0.1", Loopback),
            ("2606:4700::200:5efe:127.0.0.1", Loopback),
            ("169.254.169.254", LinkLocal),
            ("169.254.0.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("::ffff:169.254.169.254", LinkLocal),
            ("::169.254.169.254", LinkLocal),
            ("64:ff9b::169.254.169.254", LinkLocal),
            ("2002:a9fe:a9fe::", LinkLocal),
            ("2001:0:102:304::5601:5601", LinkLocal),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("::ffff:168.63.129.16", Metadata),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("255.255.255.255", Multicast),
            ("ff02::1", Multicast),
            ("64:ff9b::224.0.0.1", Multicast),
            ("240.0.0.1", Reserved),
            ("192.0.0.192", Reserved),
            ("192.0.2.1", Reserved),
            ("203.0.113.9", Reserved),
            ("192.88.99.1", Reserved),
            ("198.51.100.1", Reserved),
            ("2001:db8::1", Reserved),
            ("3fff:fff::1", Reserved),
            ("fec0::1", Reserved),
            ("100::1", Reserved),
            ("64:ff9b:1::1", Reserved),
            ("64:ff9b:1:7f00:0:100::", Reserved),
            ("5f00::1", Reserved),
            ("4000::1", Reserved),
            ("::ffff:240.0.0.1", Reserved),
        ] {
            assert_eq!(verdict(&AddressPolicy::default(), text), Err(expected), "{text}");
        }
    }

    #[test]
    fn the_operator_opens_loopback_and_nothing_else() {
        let open =
            |network: &str| AddressPolicy { loopback: vec![network.parse().unwrap()], ..AddressPolicy::default() };
        assert_eq!(verdict(&open("127.0.0.0/8"), "127.0.0.1"), Ok(()));
        assert_eq!(verdict(&open("127.0.0.0/8"), "::ffff:127.0.0.1"), Ok(()));
        assert_eq!(verdict(&open("127.0.0.0/8"), "::1"), Err(ForbiddenAddress::Loopback));
        assert_eq!(verdict(&open("127.0.0.1/32"), "127.0.0.2"), Err(ForbiddenAddress::Loopback));
        assert_eq!(verdict(&open("::1/128"), "::1"), Ok(()));
        assert_eq!(verdict(&open("0.0.0.0/0"), "169.254.169.254"), Err(ForbiddenAddress::LinkLocal));
        assert_eq!(verdict(&open("::/0"), "fd00:ec2::254"), Err(ForbiddenAddress::Metadata));
        let address = "127.0.0.1:80".parse().unwrap();
        assert_eq!(open("127.0.0.0/8").strict().check(address), Err(ForbiddenAddress::Loopback));
    }

    #[test]
    fn the_api_server_and_the_adapter_are_out_of_reach_even_where_loopback_is_open() {
        let policy = AddressPolicy {
            loopback: vec!["127.0.0.0/8".parse().unwrap()],
            api_server: vec!["127.0.0.1:6443".parse().unwrap(), "10.96.0.1:443".parse().unwrap()],
            adapter: vec!["10.244.0.7:6443".parse().unwrap()],
        };
        let check = |text: &str| policy.check(text.parse().unwrap());
        assert_eq!(check("127.0.0.1:6443"), Err(ForbiddenAddress::ApiServer));
        assert_eq!(check("[::ffff:10.96.0.1]:443"), Err(ForbiddenAddress::ApiServer));
        assert_eq!(check("[64:ff9b::10.96.0.1]:443"), Err(ForbiddenAddress::ApiServer));
        assert_eq!(check("10.244.0.7:6443"), Err(ForbiddenAddress::Adapter));
        assert_eq!(check("[2002:0af4:0007::1]:6443"), Err(ForbiddenAddress::Adapter));
        assert_eq!(check("127.0.0.1:6444"), Ok(()));
        assert_eq!(check("10.244.0.7:8080"), Ok(()));
    }

    proptest::proptest! {
        #[test]
        fn no_notation_of_a_forbidden_address_is_allowed(bits in proptest::num::u32::ANY, interface in proptest::num::u64::ANY) {
            let inner = Ipv4Addr::from_bits(bits);
            let [high, low] = [u128::from(bits >> 16), u128::from(bits & 0xffff)];
            let carriers = [
                0xffff_u128 << 32 | u128::from(bits),
                0xffff_u128 << 48 | u128::from(bits),
                u128::from(bits),
                0x0064_ff9b_u128 << 96 | u128::from(bits),
                0x2002_u128 << 112 | high << 96 | low << 80 | u128::from(interface),
                0x2001_u128 << 112 | high << 80 | low << 64 | u128::from(interface),
                0x2001_u128 << 112 | 0x0102_0304_u128 << 64 | u128::from(!bits),
                0x2606_4700_u128 << 96 | 0x5efe_u128 << 32 | u128::from(bits),
            ];
            let policy = AddressPolicy::default();
            let forbidden = |ip: IpAddr| policy.check(SocketAddr::new(ip, 443)).is_err();
            for carrier in carriers.map(Ipv6Addr::from_bits) {
                proptest::prop_assert!(!forbidden(inner.into()) || forbidden(carrier.into()), "{inner} as {carrier}");
            }
        }
    }
}
