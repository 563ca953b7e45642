//! Reads what servers say of themselves and of one another.
//!
//! Never trusts a shape: what is not understood is left out. Invariant: pure.

use redis::Value;

use super::ground::SLOTS;
use crate::store::redis::Server;

/// The replicas of a master, as `INFO replication` lists them, those included that are still being filled; `None` if it
/// is not a master.
pub(super) fn master_role(said: &str) -> Option<Vec<Server>> {
    if info(said, "role") != Some("master") {
        return None;
    }
    let count = info(said, "connected_slaves").and_then(|text| text.parse::<usize>().ok());
    let replicas = (0..count.unwrap_or(0)).map(|at| {
        let line = info(said, &format!("slave{at}")).unwrap_or_default();
        let part = |name: &str| line.split(',').find_map(|part| part.strip_prefix(name));
        Server {
            host: part("ip=").unwrap_or_default().to_owned(),
            port: part("port=").and_then(|port| port.parse().ok()).unwrap_or(0),
        }
    });
    Some(replicas.collect())
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
    fn a_server_says_whether_it_is_a_master_and_of_whom() {
        let said = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
            slave0:ip=10.0.0.7,port=6380,state=online,offset=99,lag=0\r\n\
            slave1:ip=10.0.0.8,port=6381,state=wait_bgsave,offset=0,lag=0\r\n";
        let at = |host: &str, port| Server { host: host.to_owned(), port };
        assert_eq!(master_role(said), Some(vec![at("10.0.0.7", 6380), at("10.0.0.8", 6381)]));
        assert_eq!(master_role("role:master\r\nconnected_slaves:0\r\n"), Some(Vec::new()));
        assert_eq!(master_role("role:slave\r\nconnected_slaves:2\r\n"), None);
        assert_eq!(master_role(""), None);
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
