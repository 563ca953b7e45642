//! What an exchange's own clients expect a refusal to look like.
//!
//! Never holds anything but the pack's text. Invariant: what `render` returns is JSON, whatever the
//! message is.

/// `[challenge]` of a pack: status and body in the exchange's own error format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeAnswer {
    pub status: u16,
    template: String,
}

const HOLE: &str = "{message}";

impl NativeAnswer {
    /// # Errors
    /// Why the template cannot be a body, as a sentence without a full stop.
    pub(super) fn new(status: u16, template: &str) -> Result<Self, String> {
        if !template.contains(HOLE) {
            return Err(format!("the body has no `{HOLE}`"));
        }
        let answer = Self { status, template: template.to_owned() };
        // A message that breaks out of a string, or stands outside of one, does not survive this.
        const PROBE: &str = "probe \" \\ \n";
        let rendered = answer.render(PROBE);
        let Ok(body) = serde_json::from_str::<serde_json::Value>(&rendered) else {
            return Err(format!("the body is not JSON with `{HOLE}` inside a string"));
        };
        if holes_filled(&body, PROBE) != template.matches(HOLE).count() {
            return Err(format!("`{HOLE}` must stand in a string that is a value"));
        }
        Ok(answer)
    }

    /// The body, `application/json`.
    pub fn render(&self, message: &str) -> String {
        let quoted = serde_json::Value::from(message).to_string();
        let escaped = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        self.template.replace(HOLE, escaped.unwrap_or(""))
    }
}

fn holes_filled(value: &serde_json::Value, probe: &str) -> usize {
    match value {
        serde_json::Value::String(text) => text.matches(probe).count(),
        serde_json::Value::Array(values) => {
            values.iter().map(|value| holes_filled(value, probe)).sum()
        }
        serde_json::Value::Object(members) => {
            members.values().map(|value| holes_filled(value, probe)).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_break_out_of_its_string() {
        let answer =
            NativeAnswer::new(401, r#"{"code":"50114","msg":"{message}","data":[]}"#).unwrap();
        let body: serde_json::Value =
            serde_json::from_str(&answer.render("say \"x\", \\ \n {message}")).unwrap();
        assert_eq!(body["msg"], "say \"x\", \\ \n {message}");
        assert_eq!(body["code"], "50114");
    }

    #[test]
    fn a_template_without_a_place_in_a_string_is_refused() {
        for template in [
            r#"{"msg":"x"}"#,
            r#"{"msg":{message}}"#,
            r#"{"{message}":1}"#,
            r#"{"msg":"{message}"} {message}"#,
            "{message}",
        ] {
            assert!(NativeAnswer::new(401, template).is_err(), "{template}");
        }
    }
}
