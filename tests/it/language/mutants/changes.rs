//! Every small change of what a policy says: each bound a step up or down, each part of a condition left out, each
//! outcome another.

use std::ops::Range;

use stepgate::policy::STANDING_ACTIONS;
use stepgate::policy::table::FACTS;

const OUTCOMES: [&str; 9] = [
    "require = \"totp\"",
    "require = \"sms\"",
    "require = \"totp or sms\"",
    "require = \"totp and sms\"",
    "require = \"totp or sms or mail\"",
    "hold = \"24h\"",
    "deny = true",
    "freeze = true",
    "allow = true",
];

/// Each change by itself, named.
pub fn changes(policy: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = policy.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let with = |new: &str| {
            let mut changed = lines.clone();
            changed[at] = new;
            changed.join("\n")
        };
        if *line == "[[rule]]" {
            let end = (at + 1..lines.len())
                .find(|it| lines[*it].is_empty() || lines[*it].starts_with('['));
            let end = end.unwrap_or(lines.len());
            let kept: Vec<&str> = lines[..at].iter().chain(&lines[end..]).copied().collect();
            found.push((format!("without the rule at line {}", at + 1), kept.join("\n")));
            let key = |line: &str| line.split(" = ").next().unwrap_or("").to_owned();
            let has: Vec<String> = lines[at..end].iter().map(|line| key(line)).collect();
            for more in [
                "shadow = true",
                "notify = true",
                "valid = \"session\"",
                "valid = \"1h\"",
                "when = \"usd_value > 1\"",
                "unless = \"credential.kind is api_key\"",
            ] {
                if !has.contains(&key(more)) {
                    found.push((
                        format!("rule at line {}: {more}", at + 1),
                        with(&format!("[[rule]]\n{more}")),
                    ));
                }
            }
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#'))
        {
            for new in line_changes(key, value) {
                found.push((format!("line {}: {line} → {new}", at + 1), with(&new)));
            }
        }
    }
    found
}

fn line_changes(key: &str, value: &str) -> Vec<String> {
    let quote = value.chars().next().unwrap_or('"');
    let inner = value.trim_matches(quote);
    let line = |key: &str, inner: &str| format!("{key} = {quote}{inner}{quote}");
    match key {
        "version" | "why" => Vec::new(),
        "id" => vec![line(key, &format!("{inner}-2"))],
        "when" | "unless" => {
            let all = conditions(inner).into_iter();
            let mut all: Vec<String> = all.map(|inner| line(key, &inner)).collect();
            all.push(String::new());
            all.push(line(if key == "when" { "unless" } else { "when" }, inner));
            all
        }
        "require" | "hold" | "deny" | "freeze" | "allow" => {
            let other = OUTCOMES.into_iter().map(str::to_owned);
            let mut all: Vec<String> =
                other.filter(|it| *it != format!("{key} = {value}")).collect();
            all.extend(durations(inner).into_iter().map(|inner| line(key, &inner)));
            all
        }
        "valid" => {
            let other = ["session", "12h", "24h", "1s"].into_iter().filter(|it| *it != inner);
            other.map(|it| line(key, it)).chain([String::new()]).collect()
        }
        "notify" | "shadow" => vec![String::new(), format!("{key} = false")],
        "on" => on(value),
        _ => set(key, value),
    }
}

/// The items of `["a", "b"]`, or the one of `"a"`.
fn items(value: &str) -> Vec<&str> {
    value.split('"').skip(1).step_by(2).collect()
}

fn listed(key: &str, items: &[&str]) -> String {
    format!("{key} = {items:?}")
}

fn on(value: &str) -> Vec<String> {
    let items = items(value);
    let mut all = Vec::new();
    for at in 0..items.len() {
        let kept: Vec<&str> =
            items.iter().enumerate().filter(|it| it.0 != at).map(|it| *it.1).collect();
        all.push(listed("on", &kept));
    }
    for more in STANDING_ACTIONS.iter().chain(&["*", "address_book.*", "api_key.*"]) {
        all.push(listed("on", &[*more]));
        all.push(listed("on", &items.iter().chain([more]).copied().collect::<Vec<_>>()));
    }
    all
}

/// A set of networks.
fn set(key: &str, value: &str) -> Vec<String> {
    let items = items(value);
    let mut all = vec![
        listed(key, &items.iter().chain(&["0.0.0.0/0"]).copied().collect::<Vec<_>>()),
        listed(key, &items.iter().chain(&["::/0"]).copied().collect::<Vec<_>>()),
    ];
    for at in 0..items.len() {
        let with = |new: Option<String>| {
            let mut kept: Vec<String> = items.iter().map(|it| (*it).to_owned()).collect();
            kept.remove(at);
            kept.extend(new);
            format!("{key} = {kept:?}")
        };
        all.push(with(None));
        let Ok(network) = items[at].parse::<ipnet::IpNet>() else { continue };
        all.extend(network.supernet().map(|it| with(Some(it.to_string()))));
        let Ok(halves) = network.subnets(network.prefix_len() + 1) else { continue };
        all.extend(halves.map(|it| with(Some(it.to_string()))));
    }
    all
}

fn conditions(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let word = |at: usize| tokens.get(at).map_or("", |it| &text[it.clone()]);
    let with = |at: usize, new: &str| {
        let range = tokens[at].clone();
        [&text[..range.start], new, &text[range.end..]].concat()
    };
    let mut all = vec![format!("not ({text})")];
    for at in 0..tokens.len() {
        let token = word(at);
        let signs = ["<", "<=", ">", ">="];
        match token {
            _ if signs.contains(&token) => {
                all.extend(signs.iter().filter(|it| **it != token).map(|it| with(at, it)));
            }
            "and" => all.push(with(at, "or")),
            "or" => all.push(with(at, "and")),
            "is" => all.push(with(at, "is not")),
            "+" => {
                // Only one of the two.
                let (before, after) = (tokens[at - 1].clone(), tokens[at + 1].clone());
                all.push([&text[..before.start], &text[after.start..]].concat());
                all.push([&text[..before.end], &text[after.end..]].concat());
            }
            _ if token.starts_with('@') => all.push(with(at, "[198.51.100.0/24]")),
            _ if token.starts_with('"') => {
                all.extend(["\"?*\"", "\"a*\"", "\"*a\""].map(|it| with(at, it)));
            }
            _ if token.starts_with(|c: char| c.is_ascii_digit()) => {
                all.extend(durations(token).iter().chain(&numbers(token)).map(|it| with(at, it)));
            }
            _ if ["is", "not"].contains(&word(at.wrapping_sub(1))) => {
                all.push(with(at, "other"));
            }
            _ => {
                let families = [
                    "counters.withdrawal.count_24h",
                    "counters.withdrawal.usd_1h",
                    "counters.withdrawal.usd_24h",
                    "counters.withdrawal.usd_7d",
                    "counters.transfer.usd_24h",
                    "field.label",
                ];
                let facts = FACTS.iter().map(|it| it.name).chain(families);
                all.extend(facts.filter(|it| *it != token).map(|it| with(at, it)));
                all.push(with(at, &format!("not {token}")));
            }
        }
    }
    all.extend(parts(text));
    all
}

/// With one of the joined parts left out.
fn parts(text: &str) -> Vec<String> {
    let joints: Vec<Range<usize>> =
        tokens(text).into_iter().filter(|it| ["and", "or"].contains(&&text[it.clone()])).collect();
    let mut all = Vec::new();
    for (at, joint) in joints.iter().enumerate() {
        let next = joints.get(at + 1).map_or(text.len(), |it| it.start);
        let before = at.checked_sub(1).map_or(0, |it| joints[it].end);
        all.push([&text[..joint.start], &text[next..]].concat());
        all.push([&text[..before], &text[joint.end..]].concat());
    }
    all
}

fn tokens(text: &str) -> Vec<Range<usize>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    for part in text.split(' ') {
        let lead = part.len() - part.trim_start_matches(['(', '[']).len();
        let end = part.trim_end_matches([')', ']', ',']).len();
        if lead < end {
            tokens.push(start + lead..start + end);
        }
        start += part.len() + 1;
    }
    tokens
}

/// `24h` a unit more and less, and in other units.
fn durations(text: &str) -> Vec<String> {
    let Some(count) = text.strip_suffix(['s', 'm', 'h', 'd']).and_then(|it| it.parse::<u64>().ok())
    else {
        return Vec::new();
    };
    let unit = &text[text.len() - 1..];
    let mut all = vec![format!("{}{unit}", count + 1), format!("{}{unit}", count - 1)];
    all.extend(
        ["s", "m", "h", "d"].into_iter().filter(|it| *it != unit).map(|it| format!("{count}{it}")),
    );
    let ms = count
        * match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => 86400,
        };
    all.extend([format!("{}s", ms + 1), format!("{}s", ms - 1)]);
    all
}

/// `10_000` one more and less, a little more, and a digit more and less.
fn numbers(text: &str) -> Vec<String> {
    let Ok(number) = text.replace('_', "").parse::<u64>() else { return Vec::new() };
    vec![
        (number + 1).to_string(),
        (number - 1).to_string(),
        format!("{number}.001"),
        format!("{}.999", number - 1),
        (number * 10).to_string(),
        (number / 10).to_string(),
    ]
}
