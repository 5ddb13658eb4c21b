//! Address and port mapping.

use nat::{Mapping, Mode, Nat, Verdict};
use tests::bed::{Bed, config, service};

tests::conforms! {
    /// Endpoint-independent mapping is offered for TCP.
    T1 FullNat "RFC 5382 REQ-1"
    fn one_client_port_has_one_pool_port_toward_all_backends() {
        let mut config = config();
        config.snat.mapping = Mapping::EndpointIndependent;
        config.services.push(service("tcp 10.99.0.1:82", Mode::Nat(Nat::Full), 0));
        let mut bed = Bed::new(config);
        let mut syn = |service: u16| {
            let seen = bed.send(0, &format!("tcp 10.1.0.5:5000 > 10.99.0.1:{service} S"));
            assert_eq!(seen.verdict, Verdict::Forward);
            let (snat, backend) = seen.ends();
            (snat.to_owned(), backend.to_owned())
        };
        let ((first, one), (second, other)) = (syn(80), syn(82));
        assert_ne!(one, other, "two backends");
        assert_eq!(first, second);
    }
}
