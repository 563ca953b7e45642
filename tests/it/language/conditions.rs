//! The condition language: operators, literals, and what is told about mistakes in them.

use super::{refuse_when, speaks};

#[test]
fn operators_mean_what_they_say() {
    for (condition, expected) in [
        ("usd_value < 5", false),
        ("usd_value <= 5", true),
        ("usd_value > 5", false),
        ("usd_value >= 5", true),
        ("usd_value is 5.0", true),
        ("usd_value is not 5", false),
        ("usd_value between 5 and 6", true),
        ("usd_value between 4 and 5", true),
        ("usd_value between 5.1 and 6", false),
        ("usd_value in [4, 5]", true),
        ("not usd_value in [4, 5,]", false),
        ("usd_value + amount > 7.5", false),
        ("usd_value + amount >= 7.5", true),
        ("asset matches \"b?c\"", true),
        ("asset matches 'b*x'", false),
        ("usd_value > 5 or asset is btc and amount > 2", true),
        ("(usd_value > 5 or asset is btc) and amount > 3", false),
        ("not (usd_value > 5 or amount > 3)", true),
        ("not not usd_value >= 5", true),
        ("  usd_value\n\t>=\r\n5  ", true),
        ("usd_value < 10_000", true),
    ] {
        let facts = "usd_value = \"5\", amount = \"2.5\", asset = \"BTC\"";
        assert_eq!(speaks(condition, facts), expected, "{condition}");
    }
}

#[test]
fn what_is_absent_is_like_nothing() {
    for (condition, expected) in [
        ("tag is 7", false),
        ("tag is not 7", true),
        ("tag in [7]", false),
        ("not tag in [7]", true),
        ("tag matches '*'", false),
        ("address.known", false),
        ("not address.known", true),
        ("address.age < 24h", false),
        ("usd_value + amount < 5", false),
    ] {
        assert_eq!(speaks(condition, ""), expected, "{condition}");
    }
    // In a sum, what is absent adds nothing to what is there.
    assert!(speaks("usd_value + amount < 5", "amount = \"4\""));
}

#[test]
fn doubt_spreads_only_as_far_as_it_matters() {
    let facts = "usd_value = \"unreadable\", amount = \"1\"";
    for (condition, expected) in [
        ("usd_value > 5", true),
        ("not usd_value > 5", true),
        ("usd_value is not 5", true),
        ("usd_value > 5 and amount > 5", false),
        ("usd_value > 5 or amount > 5", true),
        ("not (usd_value > 5 or amount < 5)", false),
        ("usd_value + amount > 1000", true),
    ] {
        assert_eq!(speaks(condition, facts), expected, "{condition}");
    }
}

#[test]
fn mistakes_are_named_where_they_stand() {
    for (condition, message, at) in [
        ("usd_vlaue > 5", "unknown fact `usd_vlaue`", "usd_vlaue"),
        (
            "counters.withdraw.usd_24h > 5",
            "unknown fact `counters.withdraw.usd_24h`",
            "counters.withdraw.usd_24h",
        ),
        (
            "counters.withdrawal.usd_48h > 5",
            "unknown fact `counters.withdrawal.usd_48h`",
            "counters.withdrawal.usd_48h",
        ),
        ("address.age < 24", "`address.age` is a duration, and `24` has no unit", "24"),
        (
            "address.age < 24hours",
            "`address.age` is a duration, and `hours` is not a unit of time",
            "24hours",
        ),
        ("usd_value > 24h", "`usd_value` is a number, and `24h` is not: `h` is not a digit", "24h"),
        (
            "usd_value > 010",
            "`usd_value` is a number, and `010` is not: a leading zero looks like an octal number",
            "010",
        ),
        (
            "usd_value > 1e6",
            "`usd_value` is a number, and `1e6` is not: exponents are not written",
            "1e6",
        ),
        ("usd_value > 10__0", "`10__0` is not a number: `_` stands between digits", "10__0"),
        (
            "usd_value > -5",
            "`usd_value` is a number, and `-5` is not: no fact is ever negative, and signs are not written",
            "-5",
        ),
        ("usd_value > amount", "`amount` is a fact, and facts are compared with values", "amount"),
        ("geo.country is Germany", "`Germany` is not a country", "Germany"),
        ("geo.country is UK", "`UK` is not a country code", "UK"),
        ("geo.country > DE", "`geo.country` is a country; `>` has no meaning for it", ">"),
        ("geo.network is hostin", "`geo.network` is never `hostin`", "hostin"),
        ("transfer.from is contrct", "`contrct` is almost the usual name of a wallet", "contrct"),
        ("action is withdrawl", "unknown action `withdrawl`", "withdrawl"),
        ("client.ip in [10.0.0.0/33]", "`10.0.0.0/33` is not a network", "10.0.0.0/33"),
        ("client.ip in [10.0.0.1/8]", "`10.0.0.1/8` has bits set beyond its prefix", "10.0.0.1/8"),
        (
            "client.ip is ::ffff:10.0.0.1",
            "`::ffff:10.0.0.1` is an IPv4 network in IPv6 form",
            "::ffff:10.0.0.1",
        ),
        ("time.of_day > 6:00", "`6:00` is not a time of day", "6:00"),
        (
            "time.of_day between 22:00 and 06:00",
            "nothing is between these: the first is larger",
            "22:00 and 06:00",
        ),
        ("usd_value between 9 and 1", "nothing is between these: the first is larger", "9 and 1"),
        ("asset in []", "nothing is ever in an empty list", "[]"),
        ("asset in [a b]", "expected `,` or `]` here", "b"),
        ("asset in @nowhere", "unknown set `@nowhere`", "@nowhere"),
        ("asset matches BTC*", "a pattern stands in quotes", "BTC*"),
        ("usd_value matches '1*'", "`usd_value` is a number; it has no patterns", "matches"),
        ("geo.new_country is true", "`geo.new_country` is true or false by itself", "true"),
        ("usd_value", "`usd_value` is a number and says neither yes nor no", "usd_value"),
        ("asset + usd_value > 5", "`asset` is a symbol; only numbers can be added", "asset"),
        ("usd_value + 5 > 9", "`5` is a value, and a fact is expected here", "5"),
        ("5 < usd_value", "`5` is a value, and a fact is expected here", "5"),
        ("usd_value > 5 > 3", "expected `and`, `or` or the end here", ">"),
        ("usd_value > 50,000", "expected `and`, `or` or the end here", ","),
        ("usd_value > 5 AND amount > 3", "expected `and`, `or` or the end here", "AND"),
        ("usd_value >", "expected a value, but the condition ends", ""),
        ("usd_value = 5", "`=` is not part of the language", "="),
        ("usd_value != 5", "`!=` is not part of the language", "!="),
        ("lower(asset) is btc", "`lower(`: there are no functions", "lower"),
        ("asset is not in [a]", "expected a value here", "in"),
        ("asset not in [a]", "expected a comparison here", "not"),
        ("аsset is btc", "U+0430 CYRILLIC SMALL LETTER A looks like `a`", "а"),
        (
            "address is 'bc1а'",
            "U+0430 CYRILLIC SMALL LETTER A looks like `a`, and never stands in this fact",
            "'bc1а'",
        ),
        ("geo.country is de", "`de` is written in capitals", "de"),
        ("geo.country is XQ", "no country has the code `XQ`", "XQ"),
        ("asset is \"btc", "this quotation is not closed", "\"btc"),
    ] {
        assert_eq!(refuse_when(condition), (message.to_owned(), at.to_owned()), "{condition}");
    }
}
