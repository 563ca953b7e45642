//! Every fact of the table can be named, has a readable value on an ordinary day or is documented
//! as absent, and can be staged in a case.

use super::speaks;

#[test]
fn every_fact_is_read_as_it_was_staged() {
    for (condition, yes, no) in [
        ("site is main", "", "site = \"other\""),
        ("action is withdrawal", "", "\"x\" = \"\""),
        ("amount >= 1.5", "amount = \"1.50\"", "amount = \"1.4999999999999999999\""),
        ("asset is btc", "asset = \"BTC\"", "asset = \"BTCX\""),
        ("address is bc1qX", "address = \"bc1qX\"", "address = \"bc1qx\""),
        ("network is 'usdt-arbitrum one'", "network = \"USDT-Arbitrum One\"", "network = \"ETH\""),
        ("tag is 0042", "tag = \"0042\"", "tag = \"42\""),
        ("transfer.to is spot", "\"transfer.to\" = \"SPOT\"", "\"transfer.to\" = \"funding\""),
        ("transfer.to is 'sub1'", "\"transfer.to\" = \"sub1\"", "\"transfer.to\" = \"sub\""),
        ("field.note is 'grüße'", "\"field.note\" = \"grüße\"", "\"field.note\" = \"Grüße\""),
        ("usd_value < 5", "usd_value = \"4\"", "usd_value = \"5\""),
        ("counters.order.count_1h > 999", "\"counters.order.count_1h\" = \"1000\"", ""),
        (
            "counters.address_book.add.usd_7d is 3",
            "\"counters.address_book.add.usd_7d\" = \"3\"",
            "",
        ),
        ("not address.known", "\"address.known\" = \"false\"", "\"address.known\" = \"true\""),
        ("address.verified", "\"address.verified\" = \"true\"", "\"address.known\" = \"false\""),
        ("address.age < 1h", "\"address.known\" = \"false\"", "\"address.age\" = \"60m\""),
        ("address.idle > 30d", "\"address.idle\" = \"31d\"", "\"address.idle\" = \"30d\""),
        ("client.ip in [10.0.0.0/8, ::1]", "\"client.ip\" = \"10.9.9.9\"", ""),
        ("client.ip is 2001:db8::/32", "\"client.ip\" = \"2001:db8::7\"", ""),
        ("geo.country is DE", "\"geo.country\" = \"DE\"", ""),
        ("geo.city is 'São Paulo'", "\"geo.city\" = \"São Paulo\"", ""),
        ("geo.asn is 13335", "\"geo.asn\" = \"13335\"", ""),
        ("geo.network in [hosting, relay]", "\"geo.network\" = \"relay\"", ""),
        ("geo.new_country", "\"geo.country\" = \"DE\"", ""),
        ("geo.new_asn", "\"geo.asn\" = \"13335\"", ""),
        ("geo.first_place", "\"geo.first_place\" = \"true\"", ""),
        (
            "geo.distance_km > 300",
            "\"geo.distance_km\" = \"300.5\"",
            "\"geo.distance_km\" = \"300\"",
        ),
        ("geo.speed_kmh > 900", "\"geo.speed_kmh\" = \"901\"", "\"geo.speed_kmh\" = \"absent\""),
        ("session.age > 12h", "\"session.age\" = \"13h\"", "\"session.age\" = \"absent\""),
        ("credential.kind is api_key", "\"credential.kind\" = \"api_key\"", ""),
        ("credential.kind is none", "\"credential.kind\" = \"none\"", ""),
        ("account.has_totp", "", "\"account.has_totp\" = \"false\""),
        ("account.has_sms", "", "\"account.has_sms\" = \"false\""),
        (
            "account.has_webauthn",
            "\"account.has_webauthn\" = \"true\"",
            "\"account.has_webauthn\" = \"false\"",
        ),
        ("account.has_factor", "", "\"account.has_factor\" = \"false\""),
        ("account.security_change_age < 1d", "\"account.security_change_age\" = \"23h\"", ""),
        ("time.of_day between 11:59 and 12:00", "", "\"x\" = \"\""),
        ("time.weekday is mon", "", "\"x\" = \"\""),
    ] {
        assert!(speaks(condition, yes), "{condition} with {yes}");
        if no != "\"x\" = \"\"" {
            assert!(!speaks(condition, no), "{condition} with {no}");
        }
    }
}

#[test]
fn symbols_with_odd_characters_count_against_the_request() {
    for odd in ["BTC ", " BTC", "ВТС", "BTC\\u200b", ""] {
        let facts = format!("asset = \"{odd}\"");
        assert!(speaks("asset is ETH", &facts), "{odd:?}");
    }
}

#[test]
fn a_counter_without_price_has_a_count_and_no_worth() {
    let facts = "\"counters.withdrawal.usd_24h\" = \"unreadable\"";
    assert!(speaks("counters.withdrawal.usd_24h > 1", facts));
    assert!(!speaks("counters.withdrawal.count_24h > 1", facts));
    assert!(speaks(
        "counters.withdrawal.count_24h > 1",
        "\"counters.withdrawal.count_24h\" = \"unreadable\""
    ));
}
