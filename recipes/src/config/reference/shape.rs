//! The schema, read as what a person may write.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::text::Doc;

/// What stands for a key that may be any name.
pub(in crate::config) const ANY_NAME: &str = "NAME";

/// A JSON schema with its definitions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schema<'a> {
    root: &'a Value,
}

/// One form that a value may have.
#[derive(Debug, Clone)]
pub(super) struct Form<'a> {
    pub(super) doc: Doc<'a>,
    pub(super) what: What<'a>,
}

#[derive(Debug, Clone)]
pub(super) enum What<'a> {
    /// A type with its bounds.
    Plain(Cow<'static, str>),
    /// One word or number as it is written.
    Word(&'a Value),
    /// A list; the schema of its items.
    List(&'a Value),
    /// A table with keys of its own.
    Table(Table<'a>),
}

/// A table that may be written.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    /// The key that tells it from the other tables of a union, and its value.
    pub(super) tag: Option<(&'a str, &'a str)>,
    /// Whether the value alone stands for the table, with the defaults of its keys.
    pub(super) by_name: bool,
    /// Its other keys, in the order of the source.
    pub(super) keys: Vec<Key<'a>>,
    /// The schema whose tables it has beside its own keys.
    pub(super) also: Option<&'a Value>,
}

/// A key of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Key<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    pub(super) doc: Doc<'a>,
    pub(super) required: bool,
}

impl Form<'_> {
    pub(super) fn is_word(&self) -> bool {
        matches!(self.what, What::Word(_))
    }
}

impl<'a> Table<'a> {
    fn read(schema: &'a Value, properties: &'a Map<String, Value>) -> Self {
        let required = schema.get("required").and_then(Value::as_array);
        let constant = |(name, value): (&'a String, &'a Value)| {
            Some((name.as_str(), value.get("const")?.as_str()?))
        };
        let tag = properties.iter().find_map(constant);
        let keys = properties
            .iter()
            .filter(|(name, _)| tag.is_none_or(|(tag, _)| tag != name.as_str()))
            .map(|(name, value)| {
                let own = Doc::of(value);
                // The one key of such a table is the name of a variant, which the table describes.
                let is_variant = own.is_empty() && properties.len() == 1;
                Key {
                    name,
                    schema: value,
                    doc: if is_variant { Doc::of(schema) } else { own },
                    required: required.is_some_and(|all| all.iter().any(|one| one == name)),
                }
            })
            .collect();
        Self { tag, by_name: false, keys, also: union(schema).is_some().then_some(schema) }
    }

    /// A table of tables, whose keys are any names.
    fn by_any_name(tables: &'a Value) -> Self {
        let doc = Doc::default();
        let keys = vec![Key { name: ANY_NAME, schema: tables, doc, required: false }];
        Self { tag: None, by_name: false, keys, also: None }
    }

    /// Its value of the tag, where it has one.
    pub(super) fn kind(&self) -> Option<&'a str> {
        self.tag.map(|(_, kind)| kind)
    }
}

impl<'a> Schema<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self { root }
    }

    /// The table of a whole recipe.
    pub(super) fn top(self) -> &'a Value {
        self.root
    }

    /// The definition of this name.
    fn definition(self, name: &str) -> &'a Value {
        &self.root["$defs"][name]
    }

    /// All forms of a value. Unions of unions are made flat, and `null` is left out: TOML has none.
    pub(super) fn forms(self, schema: &'a Value) -> Vec<Form<'a>> {
        let doc = Doc::of(schema);
        if let Some(name) = reference(schema) {
            let mut forms = self.forms(self.definition(name));
            // What `"off"` means is said where it is used.
            if let [form] = &mut forms[..]
                && form.is_word()
                && !doc.is_empty()
            {
                form.doc = doc;
            }
            return forms;
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        if let Some(properties) = properties {
            return vec![Form { doc, what: What::Table(Table::read(schema, properties)) }];
        }
        if let Some(tables) =
            schema.get("additionalProperties").filter(|it| reference(it).is_some())
        {
            return vec![Form { doc, what: What::Table(Table::by_any_name(tables)) }];
        }
        if let Some(items) = union(schema) {
            let mut forms = items.iter().flat_map(|item| self.forms(item)).collect();
            join_names(&mut forms);
            return forms;
        }
        let what = match (schema.get("const"), schema.get("enum"), schema.get("items")) {
            (Some(word), _, _) => What::Word(word),
            (_, Some(Value::Array(words)), _) => {
                let word = |word| Form { doc: Doc::default(), what: What::Word(word) };
                return words.iter().filter(|word| !word.is_null()).map(word).collect();
            }
            (_, _, Some(items)) => What::List(items),
            _ => match plain(schema) {
                Some(plain) => What::Plain(plain),
                None => return Vec::new(),
            },
        };
        vec![Form { doc, what }]
    }

    /// The forms of the union that stands beside the keys of a table.
    pub(super) fn union_forms(self, schema: &'a Value) -> Vec<Form<'a>> {
        union(schema).unwrap_or_default().iter().flat_map(|item| self.forms(item)).collect()
    }

    /// The forms of a value that is a list, or of one item of it where it is nothing but a list.
    pub(super) fn item_forms(self, schema: &'a Value) -> (bool, Vec<Form<'a>>) {
        let forms = self.forms(schema);
        match &forms[..] {
            [Form { what: What::List(items), .. }] => (true, self.forms(items)),
            _ => (false, forms),
        }
    }

    /// What two keys of one definition have in common; none for a schema that is written out.
    pub(super) fn identity(self, schema: &'a Value) -> Option<&'a str> {
        if let Some(name) = reference(schema) {
            let target = self.definition(name);
            let is_list = target.get("items").is_some();
            return if is_list {
                self.identity(&target["items"]).or(Some(name))
            } else {
                Some(name)
            };
        }
        if let Some(items) = schema.get("items") {
            return self.identity(items);
        }
        let others = union(schema)?.iter();
        let others = others.filter(|item| item["type"] != "null" && item["const"] != "off");
        match others.collect::<Vec<_>>()[..] {
            [one] => self.identity(one),
            _ => None,
        }
    }

    /// The definitions that a union is made of.
    pub(super) fn members(self, schema: &'a Value) -> Vec<&'a str> {
        let own = self.identity(schema).map_or(schema, |name| self.definition(name));
        union(own).unwrap_or_default().iter().filter_map(reference).collect()
    }

    /// The definition with the same union as `schema`, which a flattened field has copied.
    pub(super) fn copied_from(self, schema: &'a Value) -> Option<&'a str> {
        let own = closed(union(schema)?);
        let definitions = self.root["$defs"].as_object()?;
        let same = |value: &'a Value| union(value).is_some_and(|union| closed(union) == own);
        definitions
            .iter()
            .find(|(_, value)| value.get("properties").is_none() && same(value))
            .map(|(name, _)| name.as_str())
    }

    /// What is said of a key: at the key, else of its type.
    pub(super) fn key_doc(self, key: &Key<'a>) -> Doc<'a> {
        if key.doc.is_empty() { self.type_doc(key.schema) } else { key.doc }
    }

    /// What the documentation of a type says.
    pub(super) fn type_doc(self, schema: &'a Value) -> Doc<'a> {
        let own = self.identity(schema).map(|name| Doc::of(self.definition(name)));
        own.filter(|doc| !doc.is_empty()).unwrap_or_else(|| Doc::of(schema))
    }
}

/// Puts the names that stand for tables of the same union to these.
fn join_names(forms: &mut Vec<Form<'_>>) {
    let is_name = |form: &Form<'_>, kind: &str| {
        form.doc.is_empty() && matches!(form.what, What::Word(word) if word == kind)
    };
    let mut kinds = Vec::new();
    for index in 0..forms.len() {
        let kind = match &forms[index].what {
            What::Table(table) => table.kind().map(str::to_owned),
            _ => None,
        };
        let Some(kind) = kind else { continue };
        let by_name = forms.iter().any(|form| is_name(form, &kind));
        if let What::Table(table) = &mut forms[index].what {
            table.by_name |= by_name;
        }
        kinds.push(kind);
    }
    forms.retain(|form| !kinds.iter().any(|kind| is_name(form, kind)));
}

/// Tables without what says whether other keys are refused: a flattened field refuses none itself.
fn closed(union: &[Value]) -> Vec<Value> {
    let mut tables = union.to_vec();
    for table in &mut tables {
        if let Value::Object(table) = table {
            table.remove("additionalProperties");
        }
    }
    tables
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

fn union(schema: &Value) -> Option<&[Value]> {
    let items = schema.get("oneOf").or_else(|| schema.get("anyOf"))?;
    items.as_array().map(Vec::as_slice)
}

/// A type that has no parts; none for `null`.
fn plain(schema: &Value) -> Option<Cow<'static, str>> {
    let name = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().find(|name| *name != "null")?.as_str(),
        Some(name) => name.as_str(),
        None => None,
    };
    Some(match name {
        None => "any value".into(),
        Some("null") => return None,
        Some("integer") => match schema.get("minimum").and_then(Value::as_u64) {
            Some(least) => format!("integer ≥ {least}").into(),
            None => "integer".into(),
        },
        Some("object") => "table".into(),
        Some(other) => other.to_owned().into(),
    })
}
