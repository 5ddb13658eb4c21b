use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

use super::*;
use crate::tls::session::ClientCertificate;

/// An hour within 2030, when all certificates here are valid.
const NOW: u64 = 1_900_000_000;

struct Authority(Issuer<'static, KeyPair>, CertificateDer<'static>);

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().clone();
    Authority(Issuer::new(params, key), der)
}

impl Authority {
    fn roots(&self) -> Arc<RootCertStore> {
        let mut store = RootCertStore::empty();
        store.add(self.1.clone()).unwrap();
        Arc::new(store)
    }

    fn client(&self, usage: ExtendedKeyUsagePurpose) -> ClientCertificate {
        let mut params = CertificateParams::new(vec!["dev1.lab".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "alice");
        params.extended_key_usages = vec![usage];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.0).unwrap().der().clone();
        ClientCertificate { der, subject: "CN=alice".to_owned() }
    }
}

#[test]
fn a_certificate_of_the_authority_says_who_the_client_is() {
    let lab = authority("lab");
    let client = lab.client(ExtendedKeyUsagePurpose::ClientAuth);
    let claims = [Told::Subject, Told::Fingerprint, Told::Certificate, Told::Names];
    let names = ["x-subject", "x-fingerprint", "client-cert", "x-names"].map(str::to_owned);
    let claims = names.into_iter().zip(claims).collect();
    let mut mtls = Mtls::new(claims, lab.roots(), 1);
    let identity = mtls.judge(NOW, mtls.authorities.clone(), &client).unwrap();
    assert_eq!(identity.name, "CN=alice");
    let [subject, fingerprint, certificate, names] = &identity.fields[..] else { panic!() };
    assert_eq!((&*subject.1, &*names.1), ("CN=alice", "dev1.lab"));
    assert!(fingerprint.1.len() == 64 && fingerprint.1.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(certificate.1.starts_with(":MI") && certificate.1.ends_with(':'));
    let again = mtls.judge(NOW + 1, mtls.authorities.clone(), &client).unwrap();
    assert!(Rc::ptr_eq(&identity, &again));
}

#[test]
fn others_are_refused() {
    let (lab, other) = (authority("lab"), authority("lab"));
    let roots = lab.roots();
    let judge = |now, client: &ClientCertificate| {
        Mtls::new(Vec::new(), Arc::clone(&roots), 1).judge(now, Arc::clone(&roots), client)
    };
    let client = lab.client(ExtendedKeyUsagePurpose::ClientAuth);
    let stranger = other.client(ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(judge(NOW, &stranger), Err(Reason::Issuer), "an authority of the same name");
    let server = lab.client(ExtendedKeyUsagePurpose::ServerAuth);
    assert_eq!(judge(NOW, &server), Err(Reason::Issuer));
    assert_eq!(judge(4_000_000_000, &client), Err(Reason::Expired));
    assert_eq!(judge(1, &client), Err(Reason::NotYet));
    let garbage = ClientCertificate { der: vec![1, 2, 3].into(), subject: String::new() };
    assert_eq!(judge(NOW, &garbage), Err(Reason::Malformed));
    // What is known is of the authorities by which it was found.
    let mut mtls = Mtls::new(Vec::new(), Arc::clone(&roots), 1);
    mtls.judge(NOW, Arc::clone(&roots), &client).unwrap();
    assert_eq!(mtls.judge(NOW, other.roots(), &client), Err(Reason::Issuer));
}
