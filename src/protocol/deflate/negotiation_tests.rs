//! The parameters of RFC 7692 §7.1, and the grammar of RFC 6455 §9.1.

use super::*;

const ALL: Preferences = Preferences { send: Some(15), receive: Some(15) };
const SMALL: Preferences = Preferences { send: Some(12), receive: Some(12) };
const NONE: Preferences = Preferences { send: None, receive: None };

/// Returns the response to an offer: `None` if it is declined.
fn response(offer: &str, preferences: Preferences) -> Result<Option<String>, Malformed> {
    accept([offer.as_bytes()], preferences).map(|agreed| agreed.map(|agreed| agreed.header))
}

/// Parameters of an offer, what the server wants, parameters of the response.
#[test]
fn an_offer_is_answered_within_its_limits() {
    let usual = Preferences::default();
    for (offer, preferences, answer) in [
        ("", ALL, ""),
        ("; client_max_window_bits", ALL, ""),
        ("", usual, "; client_no_context_takeover"),
        ("; client_max_window_bits", usual, "; client_no_context_takeover"),
        // §7.1.1.1
        ("; server_no_context_takeover", ALL, "; server_no_context_takeover"),
        ("", NONE, "; server_no_context_takeover; client_no_context_takeover"),
        // §7.1.1.2
        ("; client_no_context_takeover", ALL, "; client_no_context_takeover"),
        // §7.1.2.1: the same or a smaller value, and only if it was offered.
        ("; server_max_window_bits=15", ALL, "; server_max_window_bits=15"),
        ("; server_max_window_bits=10", ALL, "; server_max_window_bits=10"),
        ("; server_max_window_bits=9", SMALL, "; server_max_window_bits=9; client_no_context_takeover"),
        ("; server_max_window_bits=15", usual, "; server_max_window_bits=12; client_no_context_takeover"),
        // §7.1.2.2: only if it was offered, and not above the hint.
        ("; client_max_window_bits", SMALL, "; client_max_window_bits=12"),
        ("; client_max_window_bits=10", SMALL, "; client_max_window_bits=10"),
        ("; client_max_window_bits=10", ALL, "; client_max_window_bits=10"),
        ("; client_max_window_bits=8", ALL, "; client_max_window_bits=8"),
        ("; client_max_window_bits=15", SMALL, "; client_max_window_bits=12"),
        ("", SMALL, "; client_no_context_takeover"),
        // The grammar: quoted values and blanks.
        ("; server_max_window_bits=\"10\"", ALL, "; server_max_window_bits=10"),
        (" ;\tserver_max_window_bits = \"1\\0\" ", ALL, "; server_max_window_bits=10"),
        // Chromium, Firefox, and `websockets` of Python.
        ("; client_max_window_bits", usual, "; client_no_context_takeover"),
        ("", usual, "; client_no_context_takeover"),
        (
            "; server_max_window_bits=12; client_max_window_bits=12",
            usual,
            "; server_max_window_bits=12; client_no_context_takeover",
        ),
    ] {
        let answer = Ok(Some(format!("permessage-deflate{answer}")));
        assert_eq!(response(&format!("permessage-deflate{offer}"), preferences), answer, "{offer}");
    }
}

/// RFC 7692 §5.1 and §7.1: offers with other parameters or values are declined, and the next may be
/// acceptable.
#[test]
fn unacceptable_offers_are_declined() {
    for declined in [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=1O",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; unknown",
        "permessage-deflate; Server_No_Context_Takeover",
        // The compressor cannot do it.
        "permessage-deflate; server_max_window_bits=8",
        "PERMESSAGE-DEFLATE",
        "permessage-bzip2; level=\"9\"",
        "x-webkit-deflate-frame",
        "",
        " , ,,",
    ] {
        assert_eq!(response(declined, ALL), Ok(None), "{declined}");
        let next = format!("{declined}, permessage-deflate; client_no_context_takeover");
        let accepted = Ok(Some("permessage-deflate; client_no_context_takeover".to_owned()));
        assert_eq!(response(&next, ALL), accepted, "{next}");
    }
}

/// RFC 6455 §9.1.
#[test]
fn a_malformed_header_fails() {
    for malformed in [
        "permessage-deflate;",
        "permessage-deflate; ; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; =10",
        "permessage-deflate; a=\"",
        "permessage-deflate; a=\"b\\",
        "permessage-deflate; a=\"b c\"",
        "permessage-deflate; a=\"\"",
        "permessage-deflate; a=\"b\"c",
        "permessage-deflate x",
        "; permessage-deflate",
        "permessage/deflate",
        "permessage-deflate, x; y=(",
        "permessage-d\u{e9}flate",
    ] {
        assert_eq!(response(malformed, ALL), Err(Malformed), "{malformed}");
    }
}

/// RFC 6455 §9.1: several lines are one list.
#[test]
fn the_first_acceptable_offer_of_all_lines_counts() {
    let lines = ["x-other", "permessage-deflate; y, permessage-deflate; server_no_context_takeover", "permessage-deflate"];
    let agreed = accept(lines.map(str::as_bytes), ALL).unwrap().unwrap();
    assert_eq!(agreed.header, "permessage-deflate; server_no_context_takeover");
    let server = Direction { takeover: false, bits: 15 };
    assert_eq!(agreed.params, AgreedParams { server, client: Direction { takeover: true, bits: 15 } });
    assert_eq!(accept(["permessage-deflate", "="].map(str::as_bytes), ALL), Err(Malformed));
    assert_eq!(accept([], ALL), Ok(None));
}

#[test]
fn the_agreed_windows_are_those_of_the_response() {
    let params = |offer: &str, preferences| {
        let AgreedParams { server, client } = accept([offer.as_bytes()], preferences).unwrap().unwrap().params;
        ((server.takeover, server.bits), (client.takeover, client.bits))
    };
    assert_eq!(params("permessage-deflate", Preferences::default()), ((true, 12), (false, 15)));
    assert_eq!(params("permessage-deflate", NONE), ((false, 15), (false, 15)));
    assert_eq!(params("permessage-deflate; client_max_window_bits=9", SMALL), ((true, 12), (true, 9)));
    assert_eq!(params("permessage-deflate; server_max_window_bits=9", SMALL), ((true, 9), (false, 15)));
    assert_eq!(params("permessage-deflate; server_no_context_takeover", SMALL), ((false, 12), (false, 15)));
}

#[test]
fn a_client_offers_what_it_wants() {
    for (preferences, expected) in [
        (Preferences::default(), "; server_no_context_takeover; client_max_window_bits=12"),
        (NONE, "; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"),
        (ALL, "; client_max_window_bits"),
        (SMALL, "; server_max_window_bits=12; client_max_window_bits=12"),
    ] {
        assert_eq!(offer(preferences), format!("permessage-deflate{expected}"));
    }
}

/// RFC 7692 §5.1 and §7.1: what a server may answer to an offer.
#[test]
fn a_response_has_to_fit_the_offer() {
    let usual = Preferences::default();
    for (response, preferences, expected) in [
        ("; server_no_context_takeover", usual, Some(((false, 15), (true, 12)))),
        ("; server_no_context_takeover; client_max_window_bits=15", usual, Some(((false, 15), (true, 12)))),
        ("; server_no_context_takeover; client_max_window_bits=9", usual, Some(((false, 15), (true, 9)))),
        ("; server_no_context_takeover; client_max_window_bits=8", usual, Some(((false, 15), (true, 8)))),
        ("; server_no_context_takeover; client_no_context_takeover", usual, Some(((false, 15), (false, 12)))),
        // A server may restrict itself further than asked.
        ("; server_no_context_takeover; server_max_window_bits=10", usual, Some(((false, 10), (true, 12)))),
        ("", ALL, Some(((true, 15), (true, 15)))),
        ("; server_max_window_bits=12", SMALL, Some(((true, 12), (true, 12)))),
        ("; server_max_window_bits=8", SMALL, Some(((true, 8), (true, 12)))),
        ("; server_no_context_takeover; server_max_window_bits=12", SMALL, Some(((false, 12), (true, 12)))),
        // §7.1.1.1, §7.1.2.1: what was demanded is missing, or larger.
        ("", usual, None),
        ("; client_no_context_takeover", usual, None),
        ("", SMALL, None),
        ("; server_max_window_bits=13", SMALL, None),
        // §7.1.2.2: a value is required.
        ("; client_max_window_bits", ALL, None),
        ("; server_max_window_bits", ALL, None),
        ("; client_max_window_bits=7", ALL, None),
        ("; unknown", ALL, None),
        ("; server_no_context_takeover; server_no_context_takeover", ALL, None),
        (", permessage-deflate", ALL, None),
        (", x-other", ALL, None),
        (";", ALL, None),
    ] {
        let header = format!("permessage-deflate{response}");
        let checked = check_response([header.as_bytes()], preferences).map(|params| {
            let AgreedParams { server, client } = params.expect("it was not declined");
            Some(((server.takeover, server.bits), (client.takeover, client.bits)))
        });
        assert_eq!(checked, expected.map(Some).ok_or(InvalidResponse), "{response}");
    }
    assert_eq!(check_response([], ALL), Ok(None), "declined");
    assert_eq!(check_response([&b"x-other"[..]], ALL), Err(InvalidResponse), "was not offered");
}
