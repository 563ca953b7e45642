//! What the toy exchange remembers of each customer: balances, address book, withdrawals.
//!
//! Never asks who is calling: pages and API have done that. Invariant: an operation changes everything that belongs
//! to it, or it answers a sentence and changes nothing.

use std::collections::BTreeMap;

use fastnum::{D128, dec128};

/// The exchange's two wallets. OKX calls them trading (18) and funding (6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wallet {
    Contract,
    Spot,
}

impl Wallet {
    pub const ALL: [Self; 2] = [Self::Contract, Self::Spot];

    pub fn word(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Spot => "spot",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wallet| wallet.word() == word)
    }

    /// OKX's number of this wallet.
    pub fn from_okx(code: &str) -> Option<Self> {
        match code {
            "18" => Some(Self::Contract),
            "6" => Some(Self::Spot),
            _ => None,
        }
    }
}

/// Coins of the toy exchange.
pub const ASSETS: [&str; 3] = ["BTC", "ETH", "USDT"];

/// One entry of a customer's address book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub asset: String,
    pub network: String,
    pub address: String,
    pub label: String,
}

/// Something that was done, as the receipt page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub number: usize,
    /// `transfer`, `address` or `withdrawal`.
    pub kind: &'static str,
    pub lines: Vec<(&'static str, String)>,
}

/// One customer's books.
#[derive(Clone, Debug)]
pub struct Books {
    balances: BTreeMap<(Wallet, &'static str), D128>,
    pub addresses: Vec<Address>,
    pub receipts: Vec<Receipt>,
}

impl Books {
    /// Every customer starts with the same money and an empty address book.
    pub fn opening() -> Self {
        let balances = BTreeMap::from([
            ((Wallet::Contract, "USDT"), dec128!(10000)),
            ((Wallet::Contract, "BTC"), dec128!(2)),
            ((Wallet::Spot, "USDT"), dec128!(1000)),
            ((Wallet::Spot, "BTC"), dec128!(0.5)),
            ((Wallet::Spot, "ETH"), dec128!(10)),
        ]);
        Self { balances, addresses: Vec::new(), receipts: Vec::new() }
    }

    /// Balance lines of one wallet, coins in alphabetical order.
    pub fn wallet(&self, wallet: Wallet) -> impl Iterator<Item = (&'static str, D128)> {
        self.balances
            .iter()
            .filter(move |((owner, _), _)| *owner == wallet)
            .map(|((_, asset), amount)| (*asset, *amount))
    }

    pub fn transfer(
        &mut self,
        from: &str,
        to: &str,
        asset: &str,
        amount: &str,
    ) -> Result<Receipt, &'static str> {
        let (from, to) = match (Wallet::from_word(from), Wallet::from_word(to)) {
            (Some(from), Some(to)) if from != to => (from, to),
            _ => return Err("Choose two different wallets."),
        };
        let coin = known(asset)?;
        let value = positive(amount)?;
        self.take(from, coin, value)?;
        *self.balances.entry((to, coin)).or_default() += value;
        let way = format!("{} to {}", from.word(), to.word());
        Ok(self.receipt("transfer", vec![("amount", shown(amount, coin)), ("way", way)]))
    }

    pub fn add_address(&mut self, entry: Address) -> Result<Receipt, &'static str> {
        known(&entry.asset)?;
        if entry.address.is_empty() || entry.network.is_empty() {
            return Err("An address and its network are needed.");
        }
        let lines = vec![
            ("asset", entry.asset.clone()),
            ("network", entry.network.clone()),
            ("address", entry.address.clone()),
            ("label", entry.label.clone()),
        ];
        self.addresses.push(entry);
        Ok(self.receipt("address", lines))
    }

    pub fn withdraw(
        &mut self,
        asset: &str,
        amount: &str,
        address: &str,
        network: &str,
    ) -> Result<Receipt, &'static str> {
        let coin = known(asset)?;
        let value = positive(amount)?;
        if address.is_empty() {
            return Err("An address is needed.");
        }
        self.take(Wallet::Spot, coin, value)?;
        let lines = vec![
            ("amount", shown(amount, coin)),
            ("address", address.to_owned()),
            ("network", network.to_owned()),
        ];
        Ok(self.receipt("withdrawal", lines))
    }

    pub fn withdrawals(&self) -> impl Iterator<Item = &Receipt> {
        self.receipts.iter().filter(|receipt| receipt.kind == "withdrawal")
    }

    fn take(
        &mut self,
        wallet: Wallet,
        coin: &'static str,
        value: D128,
    ) -> Result<(), &'static str> {
        let balance = self.balances.entry((wallet, coin)).or_default();
        if *balance < value {
            return Err("Not enough in this wallet.");
        }
        *balance -= value;
        Ok(())
    }

    fn receipt(&mut self, kind: &'static str, lines: Vec<(&'static str, String)>) -> Receipt {
        let receipt = Receipt { number: self.receipts.len() + 1, kind, lines };
        self.receipts.push(receipt.clone());
        receipt
    }
}

fn known(asset: &str) -> Result<&'static str, &'static str> {
    ASSETS.into_iter().find(|coin| *coin == asset).ok_or("This coin is not listed.")
}

/// An amount as people write it: digits and at most one point.
fn positive(amount: &str) -> Result<D128, &'static str> {
    let plain = amount.len() <= 24
        && amount.starts_with(|first: char| first.is_ascii_digit())
        && amount.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = plain.then(|| amount.parse::<D128>().ok()).flatten();
    value.filter(|value| *value > D128::ZERO).ok_or("The amount must be a positive number.")
}

fn shown(amount: &str, coin: &str) -> String {
    format!("{amount} {coin}")
}
