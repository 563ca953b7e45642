//! Every small change of what cases expect: another verdict, a rule more or less, other factors, another time.

const VERDICTS: [&str; 5] = ["allow", "require", "hold", "deny", "freeze"];
const FACTORS: [&str; 4] = ["totp", "sms", "totp or sms", "totp and sms"];

/// Each change by itself, named.
pub fn changes(cases: &str, rules: &[String]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut start = 0;
    for (number, line) in cases.split_inclusive('\n').enumerate() {
        let marks: Vec<usize> = line.match_indices('"').map(|(at, _)| at).collect();
        let is_said =
            !line.starts_with('#') && !line.starts_with("name") && !line.starts_with("columns");
        for pair in marks.chunks_exact(2).filter(|_| is_said) {
            let (value, before) = (&line[pair[0] + 1..pair[1]], &line[..pair[0]]);
            for other in others(value, before, rules) {
                let (head, tail) = (&cases[..start + pair[0] + 1], &cases[start + pair[1]..]);
                let what = format!("line {}: {value} → {other}", number + 1);
                found.push((what, [head, &other, tail].concat()));
            }
        }
        for key in ["rules", "shadow", "satisfied"] {
            let none = format!("{key} = []");
            for (at, _) in line.match_indices(&none) {
                let (head, tail) = (&cases[..start + at], &cases[start + at + none.len()..]);
                let some = format!("{key} = [\"{}\"]", rules[number % rules.len()]);
                found.push((format!("line {}: {some}", number + 1), [head, &some, tail].concat()));
            }
        }
        for (flag, other) in
            [("notify = true", "notify = false"), ("notify = false", "notify = true")]
        {
            if let Some(at) = line.find(flag) {
                let (head, tail) = (&cases[..start + at], &cases[start + at + flag.len()..]);
                found.push((format!("line {}: {other}", number + 1), [head, other, tail].concat()));
            }
        }
        start += line.len();
    }
    found
}

fn others(value: &str, before: &str, rules: &[String]) -> Vec<String> {
    let words: Vec<&str> = value.split(' ').collect();
    let is_rules = words.iter().all(|word| rules.iter().any(|rule| rule == word));
    // An action or an elevation may have the name of a rule and is not expected.
    let is_expected = !before.ends_with("action = ") && !before.ends_with("rule = ");
    if VERDICTS.contains(&value) {
        return VERDICTS.iter().filter(|it| **it != value).map(|it| (*it).to_owned()).collect();
    }
    if FACTORS.contains(&value)
        && !before.ends_with("answer = ")
        && !before.ends_with("factors = ")
        && before.starts_with(' ')
    {
        return FACTORS.iter().filter(|it| **it != value).map(|it| (*it).to_owned()).collect();
    }
    if is_rules && is_expected {
        let without = |at: usize| {
            let mut kept = words.clone();
            kept.remove(at);
            if kept.is_empty() { "none".to_owned() } else { kept.join(" ") }
        };
        let mut all: Vec<String> = (0..words.len()).map(without).collect();
        all.extend(
            rules
                .iter()
                .filter(|it| !words.contains(&it.as_str()))
                .map(|it| format!("{value} {it}")),
        );
        return all;
    }
    Vec::new()
}
