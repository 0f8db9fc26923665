//! What reading rows promises, on rows of every shape and on bytes of none.

use proptest::prelude::*;
use rewards::rows::{Fields, foreign, read_rows};
use serde_json::{Map, Value};

/// A JSON value with whole numbers, which every reader takes alike.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}|[\"\\\\\\[\\]{}:, \\t\u{feff}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"{ ]{1,3}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-d\"\\\\]{1,3}", value(), 0..6)
        .prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #[test]
    fn fields_are_those_of_the_object_however_it_is_laid_out(object in object()) {
        let whole = Value::Object(object.clone());
        for text in [whole.to_string(), format!("{whole:#}")] {
            let fields = Fields::read(text.as_bytes()).unwrap();
            for (name, value) in &object {
                let raw = fields.raw(name).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Value>(raw).unwrap(), value);
                prop_assert_eq!(fields.is_absent(name), value.is_null());
                prop_assert_eq!(fields.text(name).ok(), value.as_str().map(str::to_owned));
                if let Value::Array(items) = value {
                    let raw = fields.list(name).unwrap();
                    let read: Vec<Value> =
                        raw.iter().map(|item| serde_json::from_str(item).unwrap()).collect();
                    prop_assert_eq!(&read, items);
                }
            }
        }
    }

    #[test]
    fn a_row_cut_anywhere_is_refused(object in object(), at in any::<prop::sample::Index>()) {
        let text = Value::Object(object).to_string();
        let end = at.index(text.len());
        prop_assert!(Fields::read(&text.as_bytes()[..end]).is_err());
    }

    #[test]
    fn bytes_of_any_kind_are_refused_with_at_most_one_line_number(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            prop::collection::vec(prop::sample::select(b"{}[]\":,\\ \r\n\0aE1-.\xef\xbb\xbf".to_vec()), 0..80),
        ]
    ) {
        foreign(&bytes);
        let refused = |_: usize, row: &Fields<'_>| row.text("problem").map(|_| ());
        let error = read_rows(&bytes[..], "{problem}", refused).unwrap_err().to_string();
        prop_assert!(error.matches("line ").count() <= 1 + error.matches("a line ").count(), "{}", error);
        prop_assert!(error.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", error);
    }
}
