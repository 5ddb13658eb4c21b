//! Small clients that need nothing installed: `builtin:get`, `builtin:udp`, `builtin:dns`, `builtin:run`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::dns;
use crate::exit::ExitCode;

/// How long any of them waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// The number of the one question that is asked.
const QUESTION: u16 = 0x6c62;
/// What a shell answers if there is no such program.
const NOT_FOUND: u8 = 127;

const USAGE: &str = "\
builtin:get [OPTIONS] URL       fetch a page, print it
  --ca FILE                     certificates that are trusted
  --connect ADDRESS:PORT        go there, whatever the URL says
  --method METHOD               another than GET
  --header NAME:VALUE           a field of the request; as often as need be
  --head                        print the status and the fields too, whatever the status is
builtin:udp ADDRESS:PORT TEXT   send a datagram, print the answer
builtin:dns ADDRESS:PORT NAME   ask for text, print it";

/// What is fetched, and how.
struct Get<'a> {
    url: &'a Uri,
    ca: Option<&'a str>,
    connect: Option<&'a str>,
    method: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    head: bool,
}

/// Becomes the command, which dies with its parent; or is it, if it is one of ours.
pub fn main(words: &[OsString]) -> std::process::ExitCode {
    let Some((program, arguments)) = words.split_first() else {
        return ExitCode::Usage.into();
    };
    // The parent had them blocked, for us to have them.
    let _ = SigSet::all().thread_unblock();
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let text = program.to_string_lossy();
    let Some(tool) = text.strip_prefix("builtin:") else {
        let error = std::process::Command::new(program).args(arguments).exec();
        return fail(NOT_FOUND, &format!("cannot run `{text}`: {error}"));
    };
    let arguments: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
    let done = match (tool, &words[..]) {
        ("get", words) => get(words),
        ("udp", [to, text]) => udp(to, text),
        ("dns", [server, name]) => ask(server, name),
        _ => return fail(ExitCode::Usage.code(), USAGE),
    };
    match done {
        Ok(text) => {
            // A reader that went away has seen enough.
            let _ = io::stdout().lock().write_all(text.as_bytes());
            ExitCode::Done.into()
        }
        Err(why) => fail(ExitCode::No.code(), &why),
    }
}

fn fail(code: u8, why: &str) -> std::process::ExitCode {
    let _ = writeln!(io::stderr(), "{why}");
    code.into()
}

fn udp(to: &str, text: &str) -> Result<String, String> {
    let answer = exchange(to, text.as_bytes()).map_err(|e| format!("{to}: {e}"))?;
    Ok(format!("{}\n", String::from_utf8_lossy(&answer)))
}

fn ask(server: &str, name: &str) -> Result<String, String> {
    let query = dns::query(QUESTION, name).ok_or("the name has a label that is too long")?;
    let answer = exchange(server, &query).map_err(|e| format!("{server}: {e}"))?;
    let text = dns::text(QUESTION, &answer).ok_or("the answer has no text")?;
    Ok(format!("{text}\n"))
}

fn exchange(to: &str, datagram: &[u8]) -> io::Result<Vec<u8>> {
    let to: SocketAddr = to.parse().map_err(io::Error::other)?;
    let from: SocketAddr = if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(datagram)?;
    let mut answer = vec![0; 65_535];
    let len = socket.recv(&mut answer)?;
    answer.truncate(len);
    Ok(answer)
}

fn get(words: &[&str]) -> Result<String, String> {
    let (mut ca, mut connect, mut rest) = (None, None, words);
    let (mut method, mut headers, mut head) = ("GET", Vec::new(), false);
    let url = loop {
        match rest {
            ["--ca", file, more @ ..] => (ca, rest) = (Some(*file), more),
            ["--connect", address, more @ ..] => (connect, rest) = (Some(*address), more),
            ["--method", name, more @ ..] => (method, rest) = (*name, more),
            ["--header", field, more @ ..] => {
                headers.push(field.split_once(':').ok_or(USAGE)?);
                rest = more;
            }
            ["--head", more @ ..] => (head, rest) = (true, more),
            [url] => break *url,
            _ => return Err(USAGE.to_owned()),
        }
    };
    let url: Uri = url.parse().map_err(|e| format!("`{url}` is no URL: {e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let local = tokio::task::LocalSet::new();
    let get = Get { url: &url, ca, connect, method, headers, head };
    let fetched = async { tokio::time::timeout(PATIENCE, fetch(&get)).await };
    local.block_on(&runtime, fetched).unwrap_or_else(|_| Err(format!("{url}: timed out")))
}

async fn fetch(get: &Get<'_>) -> Result<String, String> {
    let Get { url, ca, connect, .. } = *get;
    let text = |e: &dyn std::fmt::Display| format!("{url}: {e}");
    let host = url.host().ok_or_else(|| text(&"it names no host"))?;
    let tls = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let to = connect.map_or_else(|| format!("{host}:{port}"), str::to_owned);
    let stream = tokio::net::TcpStream::connect(&to).await.map_err(|e| text(&e))?;
    if !tls {
        return request(get, stream).await;
    }
    let ca = ca.ok_or_else(|| text(&"https needs --ca FILE"))?;
    let connector = TlsConnector::from(Arc::new(trusting(ca)?));
    let name = host.trim_matches(['[', ']']).to_owned();
    let name = rustls::pki_types::ServerName::try_from(name).map_err(|e| text(&e))?;
    let stream = connector.connect(name, stream).await.map_err(|e| text(&e))?;
    request(get, stream).await
}

fn trusting(ca: &str) -> Result<rustls::ClientConfig, String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let text = |e: &dyn std::fmt::Display| format!("`{ca}`: {e}");
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| text(&e))? {
        roots.add(certificate.map_err(|e| text(&e))?).map_err(|e| text(&e))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| text(&e))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

async fn request<S>(get: &Get<'_>, stream: S) -> Result<String, String>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let url = get.url;
    let text = |e: &dyn std::fmt::Display| format!("{url}: {e}");
    let (mut sender, driver) = handshake(TokioIo::new(stream)).await.map_err(|e| text(&e))?;
    tokio::task::spawn_local(async move {
        let _ = driver.await;
    });
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder().method(get.method).uri(path).header("connection", "close");
    let mut request = request.header("host", authority);
    for (name, value) in &get.headers {
        request = request.header(name.trim(), value.trim());
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| text(&e))?;
    let response = sender.send_request(request).await.map_err(|e| text(&e))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| text(&e))?.to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    if get.head {
        let mut shown = format!("{}\n", head.status);
        for (name, value) in &head.headers {
            let _ = writeln!(shown, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        return Ok(format!("{shown}\n{body}"));
    }
    if head.status == StatusCode::OK { Ok(body) } else { Err(text(&head.status)) }
}
