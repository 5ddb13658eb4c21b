//! The field names that a proxy treats apart.

/// The longest name in [`Known`].
const LONGEST: usize = 25;

/// What a field name means to a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the field of that name")]
pub enum Known {
    /// No meaning: forwarded as received.
    #[default]
    Other,
    /// Reads as an owned name once marks within are taken for others (R19); never forwarded.
    Alias,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    Upgrade,
    Http2Settings,
    ProxyAuthenticate,
    ProxyAuthenticationInfo,
    ProxyAuthorization,
    Expect,
    Authorization,
    Cookie,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XForwardedPort,
    XRealIp,
    Forwarded,
    Via,
    SecWebSocketKey,
    SecWebSocketAccept,
    XRequestId,
    TraceParent,
    TraceState,
}

impl Known {
    /// The meaning of `name`, in any case.
    pub fn of(name: &[u8]) -> Self {
        let same = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let pick = |known: &str, meaning: Self| if same(known) { meaning } else { Self::Other };
        match name.len() {
            2 => pick("te", Self::Te),
            3 => pick("via", Self::Via),
            4 => pick("host", Self::Host),
            6 if same("expect") => Self::Expect,
            6 => pick("cookie", Self::Cookie),
            7 if same("upgrade") => Self::Upgrade,
            7 => pick("trailer", Self::Trailer),
            9 if same("x-real-ip") => Self::XRealIp,
            9 => pick("forwarded", Self::Forwarded),
            10 if same("connection") => Self::Connection,
            10 if same("tracestate") => Self::TraceState,
            10 => pick("keep-alive", Self::KeepAlive),
            11 => pick("traceparent", Self::TraceParent),
            12 => pick("x-request-id", Self::XRequestId),
            13 => pick("authorization", Self::Authorization),
            14 if same("content-length") => Self::ContentLength,
            14 => pick("http2-settings", Self::Http2Settings),
            15 => pick("x-forwarded-for", Self::XForwardedFor),
            16 if same("x-forwarded-host") => Self::XForwardedHost,
            16 if same("x-forwarded-port") => Self::XForwardedPort,
            16 => pick("proxy-connection", Self::ProxyConnection),
            17 if same("transfer-encoding") => Self::TransferEncoding,
            17 if same("sec-websocket-key") => Self::SecWebSocketKey,
            17 => pick("x-forwarded-proto", Self::XForwardedProto),
            18 => pick("proxy-authenticate", Self::ProxyAuthenticate),
            19 => pick("proxy-authorization", Self::ProxyAuthorization),
            20 => pick("sec-websocket-accept", Self::SecWebSocketAccept),
            LONGEST if same("proxy-authentication-info") => Self::ProxyAuthenticationInfo,
            _ => Self::Other,
        }
    }

    /// What `name`, which is [`Self::Other`], would mean if only its letters and digits counted (R19).
    ///
    /// Servers that hand fields on as variables, as CGI asks, take `_` and `-` for the same; some take
    /// every mark for one. Only names that decide framing, routing or who the client is are told.
    pub fn of_alias(name: &[u8]) -> Self {
        // Most names begin with another letter, and cost no more than this.
        let Some(b'c' | b'f' | b'h' | b't' | b'v' | b'x' | b'!'..=b'.' | b'^'..=b'`' | b'|' | b'~') =
            name.first().map(u8::to_ascii_lowercase)
        else {
            return Self::Other;
        };
        let mut letters = [0; LONGEST];
        let mut count = 0;
        for byte in name.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            let Some(place) = letters.get_mut(count) else { return Self::Other };
            *place = byte.to_ascii_lowercase();
            count += 1;
        }
        match letters.get(..count).unwrap_or_default() {
            b"host" => Self::Host,
            b"connection" => Self::Connection,
            b"contentlength" => Self::ContentLength,
            b"transferencoding" => Self::TransferEncoding,
            b"xforwardedfor" => Self::XForwardedFor,
            b"xforwardedproto" => Self::XForwardedProto,
            b"xforwardedhost" => Self::XForwardedHost,
            b"xforwardedport" => Self::XForwardedPort,
            b"xrealip" => Self::XRealIp,
            b"forwarded" => Self::Forwarded,
            b"via" => Self::Via,
            _ => Self::Other,
        }
    }

    /// Concerns one connection only (RFC 9110 section 7.6.1), or this proxy alone; never forwarded.
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
                | Self::ProxyAuthenticate
                | Self::ProxyAuthenticationInfo
                | Self::ProxyAuthorization
        )
    }

    /// Decides framing or routing: an alias of it is an attack, not an accident.
    pub const fn is_framing(self) -> bool {
        matches!(self, Self::Host | Self::ContentLength | Self::TransferEncoding | Self::Connection)
    }

    /// Says what the balancer says on the client's behalf.
    pub const fn is_forwarding(self) -> bool {
        matches!(
            self,
            Self::XForwardedFor
                | Self::XForwardedProto
                | Self::XForwardedHost
                | Self::XForwardedPort
                | Self::XRealIp
                | Self::Forwarded
                | Self::Via
        )
    }

    /// Says what a request is called; the service decides who says it.
    pub const fn is_naming(self) -> bool {
        matches!(self, Self::XRequestId | Self::TraceParent | Self::TraceState)
    }

    /// May not be named in `Connection`, which would have it removed on the way (R10).
    pub const fn is_protected(self) -> bool {
        self.is_forwarding()
            || matches!(
                self,
                Self::Host
                    | Self::ContentLength
                    | Self::TransferEncoding
                    | Self::Authorization
                    | Self::Cookie
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, known) in [
            ("Host", Known::Host),
            ("CONTENT-LENGTH", Known::ContentLength),
            ("transfer-Encoding", Known::TransferEncoding),
            ("Proxy-Authentication-Info", Known::ProxyAuthenticationInfo),
            ("HTTP2-Settings", Known::Http2Settings),
            ("X-Forwarded-Port", Known::XForwardedPort),
            ("Sec-WebSocket-Accept", Known::SecWebSocketAccept),
            ("Hos", Known::Other),
            ("", Known::Other),
        ] {
            assert_eq!(Known::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn r19_aliases_are_seen() {
        assert_eq!(Known::of_alias(b"Transfer_Encoding"), Known::TransferEncoding);
        assert_eq!(Known::of_alias(b"X_Forwarded-For"), Known::XForwardedFor);
        assert_eq!(Known::of_alias(b"-Content.Length"), Known::ContentLength);
        assert_eq!(Known::of_alias(b"ContentLength"), Known::ContentLength);
        assert_eq!(Known::of_alias(b"Content-Lengths"), Known::Other);
        assert_eq!(Known::of_alias(b"user_id"), Known::Other);
        assert_eq!(Known::of_alias(&[b'_'; 200]), Known::Other);
    }
}
