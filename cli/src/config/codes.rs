//! One code for each kind of error and warning, and the page that explains it.
//!
//! A code keeps its meaning for good: scripts and search engines know it. A kind that disappears leaves
//! its number unused.

use std::fmt;

/// What a diagnostic means for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs with it.
    Error,
    /// It runs, but hardly as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $code:literal: $title:literal,)+) => {
        /// A kind of error (`E`) or warning (`W`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = concat!($code, ": ", $title, ".")] $variant,)+
        }

        impl Code {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// As it is printed and searched for.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What is wrong, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// The long form: why it is wrong, an example, and what to do.
            pub const fn page(self) -> &'static str {
                match self {
                    $(Self::$variant => include_str!(concat!("pages/", $code, ".txt")),)+
                }
            }
        }
    };
}

codes! {
    Syntax = "E0001": "the file is not TOML",
    UnknownKey = "E0101": "a key is not known",
    MissingKey = "E0102": "a key is missing",
    WrongType = "E0103": "a value is of the wrong type",
    BadVersion = "E0104": "the version of the format is not known",
    UnknownChoice = "E0105": "a word is not one of those allowed",
    ChooseOne = "E0106": "exactly one of several keys is needed",
    WrongMode = "E0107": "a key does not belong to this mode",
    BadAddress = "E0201": "an address is malformed",
    BadListen = "E0202": "a service cannot listen on this",
    BadDuration = "E0203": "a length of time is malformed",
    BadSize = "E0204": "a size is malformed",
    BadRate = "E0205": "a rate is malformed",
    BadPercentage = "E0206": "a percentage is malformed",
    BadPorts = "E0207": "a range of ports is malformed",
    OutOfRange = "E0208": "a number is out of range",
    BadName = "E0209": "a name is not allowed",
    NotOneHost = "E0210": "an address does not name one host",
    BadProbe = "E0211": "a probe is malformed",
    NoLeg = "E0301": "there is no leg",
    DuplicateName = "E0302": "a name is used twice",
    SameListen = "E0303": "two services listen on the same address",
    Undefined = "E0304": "a name is not defined",
    NoPool = "E0305": "a service has no pool",
    NoBackend = "E0306": "a pool has no backend",
    FamilyMismatch = "E0307": "a NAT service and its backend are of different IP versions",
    NoSource = "E0308": "there is no source address of this IP version",
    VipIsLeg = "E0309": "a service listens on an address of the kernel",
    BackendIsVip = "E0310": "a backend is one of our own services",
    SnatIsLeg = "E0311": "a SNAT address is an address of the kernel",
    LegsOverlap = "E0312": "two legs claim the same network",
    TwoDefaults = "E0313": "two default routes in one namespace",
    SmallMtu = "E0314": "the MTU is too small for IPv6",
    ListenMode = "E0315": "the mode and the protocol do not go together",
    SharedNetwork = "E0316": "clients and DNAT backends may have the same numbers",
    SmallPool = "E0317": "the SNAT pool is too small for the limit",
    EveryPort = "E0318": "a backend has no port of its own",
    PickupFit = "E0319": "connections cannot be picked up here",
    Bypassed = "E0320": "a service listens on an address that is never translated",
    AllowedAndDenied = "E0321": "a service allows and denies the same clients",
    ProbeByKernel = "E0322": "a probe cannot be made by sockets of the host",
    TunnelFit = "E0323": "a tunnel is not made like this",
    NodeAddress = "E0330": "two nodes of a lab have the same address",
    BadRun = "E0331": "a node cannot run this",
    BadCount = "E0332": "the addresses of counted nodes run out",
    BadFilter = "E0360": "a filter of packets cannot be read",
    BadTrigger = "E0361": "a trigger is not known",
    CutSegments = "E0362": "segments cannot be cut from parts of packets",
    BadPacket = "E0375": "a packet line is malformed",
    BadPattern = "E0376": "a pattern of packets is malformed",
    StepOrder = "E0377": "a step refers to what was not there before",
    SimFit = "E0378": "a service cannot be simulated like this",
    MissingFile = "E0401": "a file cannot be read",
    BadEvent = "E0402": "an event of a replay cannot be read",
    NoGateway = "E0415": "a leg has no gateway for its routes",
    BadGateway = "E0416": "a gateway is not on the link",
    KindFit = "E0417": "a key does not fit the kind of leg",
    BadRequest = "E0425": "it is not clear which requests are meant",
    NoRequests = "E0426": "a service has no requests to capture",
    SmallMemory = "E0430": "the memory does not suffice for the limits",
    ClearHttp2 = "E0440": "HTTP/2 in clear text is asked for within TLS",
    BackendProtocol = "E0441": "a pool says what backends speak to a service that passes bytes on",
    NoEffect = "E0450": "a key of a pool has no effect",
    BadServerName = "E0460": "a server name is malformed",
    AmbiguousTls = "E0461": "two backends at one address differ in TLS",
    BadLogFormat = "E0475": "a format of a log cannot be read",
    LogPlace = "E0476": "an access log cannot be written",
    BadRoutePath = "E0801": "a path of a route is malformed",
    BadCondition = "E0802": "a condition of a route is malformed",
    BadTemplate = "E0803": "a text of a route cannot be filled in",
    BadField = "E0804": "a field cannot be changed",
    EmptySplit = "E0805": "a split sends nothing anywhere",
    AffinityFit = "E0806": "clients cannot be known like this",
    NotYet = "E0901": "something is not supported yet",
    CacheSize = "E0911": "a cache is too small for what it should keep",
    CacheBypassed = "E0912": "a cache is on a route that no backend answers",
    BadCredentials = "E1001": "a file of credentials cannot be used",
    BadList = "E1002": "a list of a rule cannot be used",
    NoCertificates = "E1003": "certificates are asked for where no client shows one",
    ToldField = "E1004": "a field cannot be used for this",
    NoIdentity = "E1005": "a limit counts identities where nobody has one",
    BadGlob = "E1006": "a pattern of texts is malformed",
    NoWeight = "W0001": "no backend takes any load",
    Unused = "W0002": "something is defined and not used",
    Unreachable = "W0003": "a backend lies behind no leg",
    ShortTimeout = "W0004": "a timeout is shorter than the RFC allows",
    NoReturn = "W0005": "answers to a client may not come back",
    SlowProbe = "W0006": "a probe may take longer than the time to the next",
    KernelTakesPart = "W0007": "the kernel takes part on an interface of balun's",
    Shadowed = "W0801": "a route is never taken",
}

impl Code {
    /// The code of that name, in any case.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str().eq_ignore_ascii_case(name))
    }

    /// Errors begin with `E`.
    pub fn severity(self) -> Severity {
        if self.as_str().starts_with('E') { Severity::Error } else { Severity::Warning }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_in_order() {
        let names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
        assert_eq!(Code::find("e0304"), Some(Code::Undefined));
        assert_eq!(Code::find("E0000"), None);
    }

    #[test]
    fn every_page_says_what_is_wrong_and_how_it_is_right() {
        for code in Code::ALL {
            let page = code.page();
            let heading = format!("{code}: {}\n", code.title());
            assert!(page.starts_with(&heading), "{code}: the page begins with its heading");
            for part in ["\nWrong:\n", "\nRight:\n"] {
                assert!(page.contains(part), "{code}: the page lacks {part:?}");
            }
            assert!(page.lines().all(|line| line.len() <= 80), "{code}: lines fit a terminal");
        }
    }
}
