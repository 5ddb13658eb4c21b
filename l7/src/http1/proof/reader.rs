//! A reader of heads by the grammar of RFC 9112, byte by byte, on its own.
//!
//! It reads what a careful sender writes, not what a kind recipient accepts: no folding, no list of
//! lengths, no coding but `chunked`, no bare line ends, one `Host`. Nothing here may use another module of
//! this crate, nor a parser of any other: its worth is that it fails differently.

/// What was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str);

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// With the head.
    None,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection; responses only.
    Close,
}

/// What a request head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// As written.
    pub method: &'a [u8],
    /// `*`, or a path with its query.
    pub target: &'a [u8],
    /// The value of the one `Host`.
    pub host: &'a [u8],
    /// Where the body ends.
    pub body: Body,
    /// It asks for a websocket.
    pub upgrades: bool,
    /// Waits for 100 (Continue).
    pub expects: bool,
}

/// What a response head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response {
    /// 100 to 599.
    pub status: u16,
    /// Where the body ends.
    pub body: Body,
    /// It agrees to a websocket.
    pub upgrades: bool,
    /// The connection ends after it.
    pub closes: bool,
}

/// Reads a request head, which must be all of `bytes`.
///
/// # Errors
/// What is not as the grammar, or as a proxy that removes the fields of one connection, would write it.
pub fn request(bytes: &[u8]) -> Result<Request<'_>, Fault> {
    let mut cursor = Cursor { rest: bytes };
    let method = cursor.run(is_tchar);
    if method.is_empty() {
        return Err(Fault("no method"));
    }
    cursor.expect(b" ", "no space after the method")?;
    let target = cursor.run(|byte| byte > b' ' && byte < 0x7f && byte != b'#');
    if target != b"*" && target.first() != Some(&b'/') {
        return Err(Fault("the target is not a path"));
    }
    cursor.expect(b" HTTP/1.1\r\n", "the request line does not end with the version")?;
    let said = cursor.fields(Kind::Request)?;
    let Some(host) = said.host else { return Err(Fault("no Host")) };
    let body = match (said.chunked, said.length) {
        (true, Some(_)) => return Err(Fault("two ends of the body")),
        (true, None) => Body::Chunked,
        (false, Some(length)) => Body::Length(length),
        (false, None) => Body::None,
    };
    let upgrades = said.upgrades()?;
    if upgrades && (method != b"GET" || body != Body::None && body != Body::Length(0)) {
        return Err(Fault("an upgrade by what cannot upgrade"));
    }
    Ok(Request { method, target, host, body, upgrades, expects: said.expects })
}

/// Reads a response head, which must be all of `bytes`; `to_head` if it answers a HEAD.
///
/// # Errors
/// What is not as the grammar, or as a proxy that removes the fields of one connection, would write it.
pub fn response(bytes: &[u8], to_head: bool) -> Result<Response, Fault> {
    let mut cursor = Cursor { rest: bytes };
    cursor.expect(b"HTTP/1.1 ", "the status line does not begin with the version")?;
    let [first @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = cursor.rest
    else {
        return Err(Fault("no status"));
    };
    let status =
        [first, tens, ones].iter().fold(0, |sum, &&digit| sum * 10 + u16::from(digit - b'0'));
    cursor.rest = rest;
    cursor.expect(b" ", "no space after the status")?;
    cursor.run(is_text);
    cursor.expect(b"\r\n", "the status line does not end")?;
    let said = cursor.fields(Kind::Response)?;
    if said.chunked && said.length.is_some() {
        return Err(Fault("two ends of the body"));
    }
    let never = status < 200 || status == 204;
    if never && (said.chunked || said.length.is_some()) {
        return Err(Fault("an end of a body that cannot be"));
    }
    let body = match (said.chunked, said.length) {
        _ if never || status == 304 || to_head => Body::None,
        (true, _) => Body::Chunked,
        (_, Some(length)) => Body::Length(length),
        _ => Body::Close,
    };
    let upgrades = said.upgrades()?;
    if upgrades != (status == 101) {
        return Err(Fault("an upgrade without 101, or 101 without one"));
    }
    Ok(Response { status, body, upgrades, closes: said.closes })
}

/// Which kind of head fields stand in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Response,
}

/// What the fields of a head say of framing, routing and the connection.
#[derive(Default)]
struct Said<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    connection_upgrade: bool,
    websocket: bool,
    expects: bool,
    closes: bool,
}

impl Said<'_> {
    fn upgrades(&self) -> Result<bool, Fault> {
        if self.connection_upgrade == self.websocket {
            Ok(self.websocket)
        } else {
            Err(Fault("half an upgrade"))
        }
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Takes the bytes that `allowed` allows, up to the first that it does not.
    fn run(&mut self, allowed: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !allowed(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn expect(&mut self, text: &[u8], otherwise: &'static str) -> Result<(), Fault> {
        self.rest = self.rest.strip_prefix(text).ok_or(Fault(otherwise))?;
        Ok(())
    }

    /// Takes all field lines, the empty line, and finds nothing behind it.
    fn fields(&mut self, of: Kind) -> Result<Said<'a>, Fault> {
        let mut said = Said::default();
        while !self.rest.starts_with(b"\r\n") {
            let name = self.run(is_tchar);
            if name.is_empty() {
                return Err(Fault("a line that is no field"));
            }
            self.expect(b":", "no colon after a field name")?;
            let value = self.run(is_text);
            self.expect(b"\r\n", "a field that does not end with CRLF")?;
            said.take(of, name, strip(value))?;
        }
        match self.rest {
            b"\r\n" => Ok(said),
            _ => Err(Fault("bytes behind the head")),
        }
    }
}

impl<'a> Said<'a> {
    fn take(&mut self, of: Kind, name: &[u8], value: &'a [u8]) -> Result<(), Fault> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // The common names begin otherwise, and need not be compared.
        if !name
            .first()
            .is_some_and(|byte| b"chtukpeCHTUKPE".contains(byte) || !byte.is_ascii_alphabetic())
        {
            return Ok(());
        }
        if is(b"host") && of == Kind::Request {
            if self.host.replace(value).is_some() || value.is_empty() {
                return Err(Fault("not one Host"));
            }
        } else if is(b"content-length") {
            if self.length.replace(decimal(value)?).is_some() {
                return Err(Fault("not one Content-Length"));
            }
        } else if is(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault("not one Transfer-Encoding of chunked"));
            }
            self.chunked = true;
        } else if is(b"connection") {
            self.connection(value)?;
        } else if is(b"upgrade") {
            if self.websocket || !value.eq_ignore_ascii_case(b"websocket") {
                return Err(Fault("not one Upgrade to websocket"));
            }
            self.websocket = true;
        } else if is(b"expect") && of == Kind::Request {
            if self.expects || !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Fault("not one Expect of 100-continue"));
            }
            self.expects = true;
        } else if is(b"te") && !value.eq_ignore_ascii_case(b"trailers")
            || is(b"keep-alive")
            || is(b"proxy-connection")
            || is(b"proxy-authorization") && of == Kind::Request
        {
            return Err(Fault("a field of another connection"));
        } else if imitates(name, of) {
            return Err(Fault("a field name like one that frames or routes"));
        }
        Ok(())
    }

    /// Options of our own connection alone.
    fn connection(&mut self, value: &[u8]) -> Result<(), Fault> {
        for option in value.split(|&byte| byte == b',').map(strip) {
            match () {
                () if option.eq_ignore_ascii_case(b"upgrade") => self.connection_upgrade = true,
                () if option.eq_ignore_ascii_case(b"close") => self.closes = true,
                () if option.eq_ignore_ascii_case(b"keep-alive") => {}
                () if option.eq_ignore_ascii_case(b"te") => {}
                () => return Err(Fault("Connection names what is not ours")),
            }
        }
        Ok(())
    }
}

/// Whether letters and digits of `name` are those of a name that frames or routes, but for other marks
/// between them.
fn imitates(name: &[u8], of: Kind) -> bool {
    let host = if of == Kind::Request { b"host".as_slice() } else { b"connection" };
    [host, b"contentlength", b"transferencoding", b"connection"].iter().any(|known| {
        let mut letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
        known
            .iter()
            .all(|&wanted| letters.next().is_some_and(|byte| byte.to_ascii_lowercase() == wanted))
            && letters.next().is_none()
    })
}

/// 1*DIGIT, at most 2^63 - 1.
fn decimal(value: &[u8]) -> Result<u64, Fault> {
    const TOP: u64 = u64::MAX >> 1;
    if value.is_empty() {
        return Err(Fault("a length without digits"));
    }
    value.iter().try_fold(0u64, |sum, &byte| match byte {
        b'0'..=b'9' => {
            let digit = u64::from(byte - b'0');
            let fits = sum <= (TOP - digit) / 10;
            if fits { Ok(sum * 10 + digit) } else { Err(Fault("a length that is too great")) }
        }
        _ => Err(Fault("a length that is no number")),
    })
}

/// Without SP and HTAB at either end.
fn strip(mut value: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = value.split_first() {
        value = rest;
    }
    while let Some((b' ' | b'\t', rest)) = value.split_last() {
        value = rest;
    }
    value
}

pub(super) const fn is_tchar(byte: u8) -> bool {
    matches!(byte,
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'
        | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
        | b'|' | b'~')
}

/// HTAB, SP, VCHAR, obs-text.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}
