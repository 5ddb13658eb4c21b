use super::*;

fn wrong(text: &str) -> Vec<(Code, &str)> {
    let (_, diagnostics) = script(text, "file");
    diagnostics.into_iter().map(|d| (d.code, &text[d.primary.span])).collect()
}

#[test]
fn a_file_of_two_tests() {
    let text = "# what it is about\n\
                config = ../balun.toml\n\
                seed = 7\n\
                \n\
                test the first\n\
                send client: tcp 10.1.0.5:4000 > 10.99.0.1:80 S\n\
                \x20 expect backend: within 1s tcp $snat > *:8080 S\n\
                +0.1 reply S.\n\
                @5s\n\
                test the second\n\
                verdict drop no-service\n\
                counters packets=1 no-service=1\n\
                backend web/web1 drain\n\
                backend web/web1 is drain flows=3\n\
                sim { service = \"web\", client = \"10.1.0.5\", loss = \"2%\" }\n";
    let (script, diagnostics) = script(text, "file");
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert_eq!(script.config.map(|config| config.value), Some("../balun.toml".into()));
    let [first, second] = &script.tests[..] else { panic!("two tests") };
    assert_eq!((first.name.value.as_str(), first.seed), ("the first", Some(7)));
    let Act::Send { line, leg } = &first.steps[0].act else { panic!("{:?}", first.steps[0]) };
    assert_eq!(leg.as_ref().map(|leg| &text[leg.span.clone()]), Some("client"));
    assert_eq!(&text[line.span.clone()], line.value);
    let Act::Expect { within, .. } = &first.steps[1].act else { panic!("{:?}", first.steps[1]) };
    assert_eq!(*within, Duration::from_secs(1));
    assert_eq!(first.steps[2].wait, Some(Wait::After(Duration::from_millis(100))));
    assert_eq!(first.steps[3].wait, Some(Wait::At(Duration::from_secs(5))));
    let Act::Sim(sim) = &second.steps[4].act else { panic!("{:?}", second.steps[4]) };
    assert_eq!(&text[sim.service.span.clone()], "\"web\"");
}

#[test]
fn a_file_without_names_is_one_test_of_its_own() {
    let (script, _) = script("send udp 10.1.0.5:1 > 10.99.0.1:53\nflows 1\n", "dns");
    assert_eq!(script.tests.len(), 1);
    assert_eq!(script.tests[0].name.value, "dns");
    assert_eq!(script.tests[0].steps.len(), 2);
}

#[test]
fn mistakes_are_pointed_at() {
    use Code::{
        BadDuration, BadPacket, BadPattern, MissingKey, Syntax, Undefined, UnknownChoice,
        UnknownKey, WrongType,
    };
    for (text, code, place) in [
        ("snd tcp", UnknownKey, "snd"),
        ("confg = x\nflows 1", UnknownKey, "confg"),
        ("health = maybe\nflows 1", WrongType, "maybe"),
        ("send tcp 10.1.0.5:1 > 10.99.0.1:80 S tll=3", BadPacket, "tll=3"),
        ("expect client: > 10.0.0.0/99", BadPattern, "10.0.0.0/99"),
        ("+5x flows 1", BadDuration, "5x"),
        ("flows", MissingKey, "flows"),
        ("flows x", WrongType, "x"),
        ("verdict drp", UnknownChoice, "drp"),
        ("verdict drop no-servce", UnknownChoice, "no-servce"),
        ("verdict drop no-service x", UnknownKey, "x"),
        ("counters forwrded=1", Undefined, "forwrded"),
        ("counters forwarded", MissingKey, "forwarded"),
        ("backend web/web1 dran", UnknownChoice, "dran"),
        ("backend web/web1", MissingKey, "backend"),
        ("sim { service", Syntax, "{ service"),
        ("sim { client = \"10.1.0.5\", service = 1 }", WrongType, "1"),
        ("sim { client = \"x\", service = \"web\" }", Code::BadAddress, "\"x\""),
    ] {
        assert_eq!(wrong(text).first(), Some(&(code, place)), "{text}");
    }
    assert_eq!(wrong("# nothing"), [(MissingKey, "")]);
    assert_eq!(wrong("test empty"), [(MissingKey, "test empty")]);
}
