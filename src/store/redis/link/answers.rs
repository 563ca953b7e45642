//! Reads what servers say of themselves and of one another.
//!
//! Never trusts a shape: what is not understood is left out. Invariant: pure.

use redis::Value;

use super::ground::SLOTS;
use crate::store::redis::Server;

/// The replicas of a master, as `ROLE` lists them; `None` if it is not a master.
pub(super) fn master_role(role: &Value) -> Option<Vec<Server>> {
    let Value::Array(parts) = role else { return None };
    if text(parts.first()?)? != "master" {
        return None;
    }
    let Some(Value::Array(replicas)) = parts.get(2) else { return Some(Vec::new()) };
    Some(replicas.iter().filter_map(replica).collect())
}

fn replica(value: &Value) -> Option<Server> {
    let Value::Array(parts) = value else { return None };
    let port = text(parts.get(1)?)?.parse().ok()?;
    Some(Server { host: text(parts.first()?)?, port })
}

/// A master of a Cluster and its slots, from and to.
pub(super) type Holding = (Server, (u16, u16));

/// Reads `CLUSTER SLOTS`; a host that is not named is the one that was asked.
pub(super) fn cluster_slots(slots: &Value, asked: &Server) -> Vec<Holding> {
    let Value::Array(ranges) = slots else { return Vec::new() };
    ranges.iter().filter_map(|range| holding(range, asked)).collect()
}

fn holding(range: &Value, asked: &Server) -> Option<Holding> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(from), Value::Int(to), Value::Array(master), ..] = parts.as_slice() else {
        return None;
    };
    let host = text(master.first()?).filter(|host| !host.is_empty() && host != "?");
    let Value::Int(port) = master.get(1)? else { return None };
    let (from, to) = (u16::try_from(*from).ok()?, u16::try_from(*to).ok()?);
    let server = Server {
        host: host.unwrap_or_else(|| asked.host.clone()),
        port: u16::try_from(*port).ok()?,
    };
    (from <= to && to < SLOTS).then_some((server, (from, to)))
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// The value of a line `name:value` of `INFO`.
pub(super) fn info<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_role_says_whether_it_is_a_master_and_of_whom() {
        let of = Value::Array(vec![bulk("10.0.0.7"), bulk("6380"), bulk("99")]);
        let role = Value::Array(vec![bulk("master"), Value::Int(99), Value::Array(vec![of])]);
        let replica = Server { host: "10.0.0.7".to_owned(), port: 6380 };
        assert_eq!(master_role(&role), Some(vec![replica]));
        assert_eq!(master_role(&Value::Array(vec![bulk("slave"), bulk("10.0.0.1")])), None);
        assert_eq!(master_role(&Value::Nil), None);
    }

    #[test]
    fn slots_are_read_and_nonsense_is_left_out() {
        let asked = Server { host: "a".to_owned(), port: 1 };
        let range = |from, to, host: Value| {
            let master = Value::Array(vec![host, Value::Int(7000), bulk("id")]);
            Value::Array(vec![Value::Int(from), Value::Int(to), master])
        };
        let said = Value::Array(vec![
            range(0, 100, bulk("b")),
            range(101, 16_383, Value::Nil),
            range(5, 16_384, bulk("c")),
            range(9, 8, bulk("d")),
            Value::Okay,
        ]);
        let at = |host: &str| Server { host: host.to_owned(), port: 7000 };
        let wanted = vec![(at("b"), (0, 100)), (at("a"), (101, 16_383))];
        assert_eq!(cluster_slots(&said, &asked), wanted);
    }

    #[test]
    fn a_line_of_info_is_found_by_its_whole_name() {
        let said = "# Memory\r\nmaxmemory_human:0B\r\nmaxmemory:0\r\n";
        assert_eq!((info(said, "maxmemory"), info(said, "memory")), (Some("0"), None));
    }
}
