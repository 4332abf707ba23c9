//! JSON as the API accepts it: one document in UTF-8, each key once, no U+0000.
//!
//! What is not JSON is 400; what is JSON and not acceptable is a list of faults, so that the caller
//! sees all of them at once. `Fields` reads an object and remembers what nobody asked for.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::problem::{Code, Fault, MOST_FAULTS, Problem};

/// Parses a body strictly. Nesting is limited by the parser (127 levels, more is told as malformed).
pub(super) fn parse(body: &[u8]) -> Result<Value, Problem> {
    let malformed = |detail: String| Problem::new(Code::MalformedJson, detail);
    let text = std::str::from_utf8(body).map_err(|error| {
        malformed(format!("The body is not UTF-8: the byte at offset {} is not.", error.valid_up_to()))
    })?;
    let faults = RefCell::new(Vec::new());
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Checked { at: None, faults: &faults }
        .deserialize(&mut parser)
        .and_then(|value| parser.end().map(|()| value))
        .map_err(|error| {
            malformed(format!("The body is not valid JSON at line {}, column {}.", error.line(), error.column()))
        })?;
    let faults = faults.into_inner();
    if faults.is_empty() { Ok(value) } else { Err(Problem::invalid(faults)) }
}

/// Parses a body that must be an object.
pub(super) fn parse_object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match parse(body)? {
        Value::Object(map) => Ok(map),
        _ => Err(Problem::invalid(vec![Fault::at("", "The body must be a JSON object.")])),
    }
}

/// Longer keys are shown cut: one key of megabytes above a hundred faults would be written a hundred times.
const SHOWN: usize = 200;

/// One segment of a JSON Pointer, escaped.
pub(super) fn segment(key: &str) -> String {
    let shown: String = key.chars().take(SHOWN).collect();
    shown.replace('~', "~0").replace('/', "~1")
}

/// An object that is being read field by field. What is left at the end is unknown.
pub(super) struct Fields {
    at: String,
    rest: Map<String, Value>,
    /// What has been found wrong so far.
    pub faults: Vec<Fault>,
}

impl Fields {
    /// Reads `map`, which stands at the pointer `at`.
    pub(super) fn new(at: impl Into<String>, map: Map<String, Value>) -> Fields {
        Fields { at: at.into(), rest: map, faults: Vec::new() }
    }

    /// The pointer of a field.
    pub(super) fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, segment(name))
    }

    /// Takes a field; JSON null is a value like any other.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.remove(name)
    }

    /// Notes a fault of a field.
    pub(super) fn fault(&mut self, name: &str, message: impl Into<String>) {
        let pointer = self.pointer(name);
        self.faults.push(Fault::at(pointer, message));
    }

    /// Takes a field that must be a string.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.fault(name, format!("{name} must be a string."));
                None
            }
        }
    }

    /// Takes a field that must be a whole number in this range.
    pub(super) fn whole(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let number = self.take(name)?.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            self.fault(name, format!("{name} must be a whole number from {} to {}.", range.start(), range.end()));
        }
        number
    }

    /// Takes a field that must be an object.
    pub(super) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(map) => Some(map),
            _ => {
                self.fault(name, format!("{name} must be an object."));
                None
            }
        }
    }

    /// All that is wrong, unknown fields included.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        let unknown: Vec<String> = self.rest.keys().take(MOST_FAULTS).map(|key| self.pointer(key)).collect();
        self.faults.extend(unknown.into_iter().map(|pointer| Fault::at(pointer, "This field is not known here.")));
        self.faults
    }
}

/// The place of a value while the parser goes down; the pointer text is made only for a fault.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

struct Trail<'a> {
    up: Option<&'a Trail<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
struct Checked<'a> {
    at: Option<&'a Trail<'a>>,
    faults: &'a RefCell<Vec<Fault>>,
}

impl Checked<'_> {
    fn fault(&self, message: &str) {
        // A few more than are shown, so that the count in the detail stays a bound and not a flood.
        if self.faults.borrow().len() < 2 * MOST_FAULTS {
            self.faults.borrow_mut().push(Fault::at(pointer(self.at), message));
        }
    }

    fn look_at(&self, text: &str) {
        if text.contains('\0') {
            self.fault("The character U+0000 is not allowed.");
        }
    }
}

fn pointer(at: Option<&Trail<'_>>) -> String {
    let mut steps = Vec::new();
    let mut place = at;
    while let Some(trail) = place {
        steps.push(trail.step);
        place = trail.up;
    }
    steps.iter().rev().fold(String::new(), |text, step| match step {
        Step::Key(key) => text + "/" + &segment(key),
        Step::Index(index) => format!("{text}/{index}"),
    })
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        self.look_at(value);
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        self.look_at(&value);
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let trail = Trail { up: self.at, step: Step::Index(list.len()) };
            match items.next_element_seed(Checked { at: Some(&trail), faults: self.faults })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let trail = Trail { up: self.at, step: Step::Key(&key) };
            let inside = Checked { at: Some(&trail), faults: self.faults };
            inside.look_at(&key);
            let value = entries.next_value_seed(inside)?;
            if map.contains_key(&key) {
                inside.fault("This field stands twice in the same object.");
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Place;

    fn faults(body: &str) -> Vec<String> {
        let problem = parse(body.as_bytes()).unwrap_err();
        assert_eq!(problem.code(), Code::InvalidInput, "{body}");
        let pointers = problem.faults().iter().map(|fault| match &fault.place {
            Place::Pointer(pointer) => pointer.clone(),
            Place::Parameter(name) => panic!("{name}"),
        });
        pointers.collect()
    }

    #[test]
    fn values_come_through_unchanged() {
        let text = r#"{"a":[1,-2,2.5,true,null,"x\u00e9\ud83d\ude00"],"b":{"":18446744073709551615}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let nested = |levels| parse(format!("{}{}", "[".repeat(levels), "]".repeat(levels)).as_bytes());
        assert!(nested(127).is_ok());
        assert_eq!(nested(128).unwrap_err().code(), Code::MalformedJson);
        let deep = "[".repeat(200_000);
        let bodies: [&[u8]; 12] = [
            b"",
            b"{",
            b"nope",
            b"{\"a\":1} x",
            b"{'a':1}",
            b"{\"a\":\"\xff\"}",
            b"\xef\xbb\xbf{}",
            br#"{"a":"\ud800"}"#,
            br#"{"a":"\udc00x"}"#,
            b"{\"a\":\"\n\"}",
            b"[1e999]",
            deep.as_bytes(),
        ];
        for body in bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            assert_eq!(parse(body).map(|v| v.to_string()).unwrap_err().code(), Code::MalformedJson, "{shown}");
        }
    }

    #[test]
    fn nul_and_doubled_keys_are_faults_with_pointers() {
        assert_eq!(faults(r#"{"a":{"b/c":["x","\u0000"]}}"#), ["/a/b~1c/1"]);
        assert_eq!(faults(r#"{"a":1,"b":{"c":1,"c":2},"a":3}"#), ["/b/c", "/a"]);
        assert_eq!(faults(r#"{"\u0000":1}"#), ["/\0"]);
    }

    #[test]
    fn a_long_key_is_not_repeated_with_each_fault() {
        let key = "k".repeat(1 << 20);
        let found = faults(&format!(r#"{{"{key}":[{}"\u0000"]}}"#, r#""\u0000","#.repeat(99)));
        assert_eq!(found.len(), MOST_FAULTS);
        assert!(found.iter().all(|pointer| pointer.len() < 2 * SHOWN));
    }

    #[test]
    fn fields_name_what_is_unknown_or_wrong() {
        let map = parse_object(br#"{"n":1.5,"t":3,"o":[],"x/y":1,"ok":7}"#).unwrap();
        let mut fields = Fields::new("/options", map);
        assert_eq!(fields.whole("n", 0..=9), None);
        assert_eq!(fields.text("t"), None);
        assert!(fields.object("o").is_none());
        assert_eq!(fields.whole("ok", 0..=9), Some(7));
        let places: Vec<_> = fields.finish().into_iter().map(|fault| fault.place).collect();
        let expected = ["/options/n", "/options/t", "/options/o", "/options/x~1y"];
        assert_eq!(places, expected.map(|p| Place::Pointer(p.to_owned())));
    }
}
