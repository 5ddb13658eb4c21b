//! Application level gateways.

use nat::Verdict;
use tests::bed::{Bed, config, service};
use tests::payload::passes;

tests::conforms! {
    /// Application level gateways for TCP are off: there are none, and FTP commands that name addresses
    /// and ports pass byte for byte, both ways and on FTP's own port.
    T10 Always "RFC 5382 REQ-6"
    fn ftp_passes_byte_for_byte() {
        let mut config = config();
        for (listen, pool) in [("tcp 10.99.0.1:21", 0), ("tcp [fd99::1]:21", 1)] {
            config.services.push(service(listen, nat::Mode::Nat(nat::Nat::Full), pool));
        }
        for (client, vip, backend, snat) in [
            ("10.1.0.5", "10.99.0.1", "10.2.0.11", "10.99.0.250"),
            ("[fd01::5]", "[fd99::1]", "[fd02::11]", "[fd99::250]"),
        ] {
            let mut bed = Bed::new(config.clone());
            let to_vip = format!("tcp {client}:40000 > {vip}:21");
            assert_eq!(bed.send(0, &format!("{to_vip} S seq=9")).verdict, Verdict::Forward);
            let port = bed.flow().snat.port;
            let back = format!("tcp {backend}:8080 > {snat}:{port}");
            assert_eq!(bed.send(1, &format!("{back} S. seq=99 ack=10")).verdict, Verdict::Forward);
            let v6 = client.trim_matches(['[', ']']);
            for command in ["PORT 10,1,0,5,156,64\r\n".to_owned(), format!("EPRT |2|{v6}|40001|\r\n")] {
                let line = format!("{to_vip} P. seq=10 ack=100");
                assert_eq!(passes(&mut bed, 0, &line, command.as_bytes()), Verdict::Forward);
            }
            let line = format!("{back} P. seq=100 ack=10");
            let answer = b"227 Entering Passive Mode (10,2,0,11,31,144)\r\n";
            assert_eq!(passes(&mut bed, 1, &line, answer), Verdict::Forward);
        }
    }
}
