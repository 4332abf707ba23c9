//! What is found in a text, and what is not.

use super::*;

/// Type, text and value of everything in a text.
fn found(text: &str) -> Vec<(String, String, String)> {
    let cancel = CancellationToken::new();
    let input = ExtractInput { text: text.to_owned(), types: None };
    let output = run(&input, &cancel).unwrap().output;
    let characters: Vec<char> = text.chars().collect();
    let entities = output["entities"].as_array().unwrap();
    assert_eq!(output["count"], json!(entities.len()));
    let field = |entity: &Value, name: &str| entity[name].as_str().unwrap_or("").to_owned();
    entities
        .iter()
        .map(|entity| {
            let place = |name: &str| entity[name].as_u64().unwrap() as usize;
            let there: String = characters[place("start")..place("end")].iter().collect();
            let kind = field(entity, "type");
            if kind != "CARD" {
                assert_eq!(there, field(entity, "text"));
            }
            (kind, field(entity, "text"), field(entity, "value"))
        })
        .collect()
}

fn assert_only(kind: &str, text: &str, shown: &str, value: &str) {
    let of_kind: Vec<_> = found(text).into_iter().filter(|(found, _, _)| found == kind).collect();
    assert_eq!(of_kind, [(kind.to_owned(), shown.to_owned(), value.to_owned())], "{text}");
}

#[test]
fn each_type_with_its_value() {
    let cases = [
        ("URL", "see https://a.org/x_(y), ok", "https://a.org/x_(y)", "https://a.org/x_(y)"),
        ("URL", "(www.example.com).", "www.example.com", "http://www.example.com"),
        ("EMAIL", "mail Jo.D+x@Example.ORG.", "Jo.D+x@Example.ORG", "Jo.D+x@example.org"),
        ("PHONE", "call +44 (0)20", "", ""),
        ("PHONE", "call +44 20 7946 0958.", "+44 20 7946 0958", "+442079460958"),
        ("PHONE", "(212) 555-0142 now", "(212) 555-0142", "+12125550142"),
        ("PHONE", "1-212-555-0142", "1-212-555-0142", "+12125550142"),
        ("MONEY", "paid $1,234.50 today", "$1,234.50", "1234.50 USD"),
        ("MONEY", "€1.2 million", "€1.2 million", "1200000 EUR"),
        ("MONEY", "12,50 € each", "12,50 €", "12.50 EUR"),
        ("MONEY", "about 30 dollars.", "30 dollars", "30 USD"),
        ("MONEY", "75 cents", "75 cents", "0.75 USD"),
        ("MONEY", "US$5bn", "US$5bn", "5000000000 USD"),
        ("MONEY", "CHF 99", "CHF 99", "99 CHF"),
        ("PERCENT", "up 3.5%.", "3.5%", "3.5"),
        ("PERCENT", "fell -12 percent", "-12 percent", "-12"),
        ("DATE", "on 2024-02-29.", "2024-02-29", "2024-02-29"),
        ("DATE", "on March 5th, 2024,", "March 5th, 2024", "2024-03-05"),
        ("DATE", "the 5th of March 2024", "5th of March 2024", "2024-03-05"),
        ("DATE", "in Sept. 2023.", "Sept. 2023", "2023-09"),
        ("DATE", "by May 17", "May 17", "--05-17"),
        ("DATE", "12/31/1999", "12/31/1999", "1999-12-31"),
        ("DATE", "31.12.1999.", "31.12.1999", "1999-12-31"),
        ("TIME", "at 5:30 p.m. sharp", "5:30 p.m.", "17:30"),
        ("TIME", "at 12 am", "12 am", "00:00"),
        ("TIME", "2024-01-15T10:30:00Z", "10:30:00Z", "10:30:00Z"),
        ("IP", "host 10.0.0.1:80", "10.0.0.1", "10.0.0.1"),
        ("IP", "host 2001:DB8::1.", "2001:DB8::1", "2001:db8::1"),
        ("IBAN", "to GB82 WEST 1234 5698 7654 32.", "GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432"),
        ("CARD", "pay 4111 1111 1111 1111!", "**** **** **** 1111", "************1111"),
        ("HASHTAG", "so #Größe_1!", "#Größe_1", "Größe_1"),
        ("MENTION", "hi @jo_d, ok", "@jo_d", "jo_d"),
        ("NAME", "The chair, Ada J. Lovelace's aide", "Ada J. Lovelace", "Ada J. Lovelace"),
        ("NAME", "at the Bank of England on Monday", "Bank of England", "Bank of England"),
    ];
    for (kind, text, shown, value) in cases {
        if shown.is_empty() {
            assert!(found(text).iter().all(|(found, _, _)| found != kind), "{text}");
        } else {
            assert_only(kind, text, shown, value);
        }
    }
}

#[test]
fn what_only_looks_like_one_is_left_alone() {
    let texts = [
        "2023-02-29 and 31/31/2024 and 2024-13-01",
        "4111 1111 1111 1112",
        "GB83 WEST 1234 5698 7654 32",
        "999.1.1.1 and std::vec and ::",
        "a@b and foo.bar and x@",
        "25:00 and 12:60 and 1:2",
        "issue #12 and C# and a#b",
        "she said that it is. The end.",
        "1.2.3 and 5 % 3",
    ];
    for text in texts {
        let strict: Vec<_> =
            found(text).into_iter().filter(|(kind, shown, _)| kind != "NAME" && shown != "5 %").collect();
        assert!(strict.is_empty(), "{text}: {strict:?}");
    }
}

#[test]
fn a_card_number_is_nowhere_in_the_answer() {
    let cancel = CancellationToken::new();
    let text = "5500-0000-0000-0004".to_owned();
    let draft = run(&ExtractInput { text, types: None }, &cancel).unwrap();
    let all = format!("{}{:?}", draft.output, draft.written);
    assert!(all.contains("****-****-****-0004") && !all.contains("5500"), "{all}");
}

#[test]
fn the_stronger_rule_keeps_the_place_and_types_filter_afterwards() {
    let text = "😀 jo@example.org and https://example.org/@jo#x on 2024-01-02";
    let kinds: Vec<_> = found(text).into_iter().map(|(kind, _, _)| kind).collect();
    assert_eq!(kinds, ["EMAIL", "URL", "DATE"]);
    let types = Some(vec![EntityType::Date, EntityType::Mention]);
    let cancel = CancellationToken::new();
    let only = run(&ExtractInput { text: text.to_owned(), types }, &cancel).unwrap();
    assert_eq!(only.output["count"], 1);
    assert_eq!(only.output["entities"][0]["start"], 50);
}

#[test]
fn a_very_full_text_is_cut_and_says_so() {
    let cancel = CancellationToken::new();
    let text = "#ab ".repeat(MAX_ENTITIES + 1);
    let output = run(&ExtractInput { text, types: None }, &cancel).unwrap().output;
    assert_eq!(output["count"], MAX_ENTITIES);
    assert_eq!(output["truncated"], true);
}
