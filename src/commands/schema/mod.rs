//! `stepgate schema`: the JSON Schema of each kind of file that people write, for their editors.
//!
//! Never what is checked at load: a schema knows keys, types and closed lists of words, and `stepgate check` knows the rest.
//! Invariant: a table of a schema has exactly the keys that its loader takes, which the tests ask the loader itself.

mod actions;
mod cases;
mod config;
mod policy;
mod shapes;

use std::process::ExitCode;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// `stepgate.toml`
    Config,
    /// `<exchange>.actions.toml`
    Actions,
    /// `<name>.policy.toml`
    Policy,
    /// `<name>.cases.toml`
    Cases,
    /// `<exchange>.actions.cases.toml`
    ActionsCases,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Config, Self::Actions, Self::Policy, Self::Cases, Self::ActionsCases];

    /// The schema's file in `policies/schemas/`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Config => "config.schema.json",
            Self::Actions => "actions.schema.json",
            Self::Policy => "policy.schema.json",
            Self::Cases => "cases.schema.json",
            Self::ActionsCases => "actions.cases.schema.json",
        }
    }

    /// The schema.
    pub fn schema(self) -> Value {
        match self {
            Self::Config => schema_of::<config::Config>(),
            Self::Actions => schema_of::<actions::Pack>(),
            Self::Policy => schema_of::<policy::Policy>(),
            Self::Cases => schema_of::<cases::Cases>(),
            Self::ActionsCases => schema_of::<actions::PackCases>(),
        }
    }

    /// As it stands in its file.
    ///
    /// # Errors
    /// Never for what we describe; a schema is plain JSON.
    pub fn text(self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(&self.schema())? + "\n")
    }
}

/// Prints one schema.
///
/// # Errors
/// If it cannot be written.
pub fn run(kind: Kind) -> anyhow::Result<ExitCode> {
    say!("{}", kind.text()?.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema
}

/// TOML has no null, and a number's width is nobody's business.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            without_null(object);
            if object.get("type").is_some_and(|kind| kind == "integer") {
                object.remove("format");
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn without_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(ways)) = object.get_mut("anyOf") else { return };
    ways.retain(|way| way.get("type").is_none_or(|kind| kind != "null"));
    if let [Value::Object(only)] = ways.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

#[cfg(test)]
mod tests;
