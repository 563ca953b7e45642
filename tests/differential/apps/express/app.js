// The exchange as an Express application: `node app.js express4|express5`, with PORT and LOG in the environment.
//
// As permissive as people make them: extended query strings and forms, JSON that need not be an object (4), a method
// taken from a header, the query or the body (4). Never asks for anything; it writes down what it executed.
'use strict';
const fs = require('node:fs');
const name = process.argv[2];
const lax = name === 'express4';
const express = require(name);
const methodOverride = require('method-override');

const log = fs.openSync(process.env.LOG, 'a');
const app = express();
app.set('query parser', 'extended');
app.set('trust proxy', true);
app.use(express.json({ strict: !lax }));
app.use(express.urlencoded({ extended: true }));
if (lax) {
  const methods = ['POST', 'GET', 'PUT'];
  for (const header of ['X-HTTP-Method', 'X-HTTP-Method-Override', 'X-Method-Override']) {
    app.use(methodOverride(header, { methods }));
  }
  app.use(methodOverride('_method', { methods }));
  app.use(methodOverride((req) => req.body && typeof req.body === 'object' && req.body._method, { methods }));
}

function run(what) {
  return (req, res) => {
    const given = { ...req.query, ...req.body };
    const said = { ran: what, case: req.get('x-case') || '', amt: given.amt, to: given.toAddr };
    if (what === 'withdrawal' && (given.amt === undefined || given.toAddr === undefined)) {
      return res.status(400).json({ error: 'amt and toAddr' });
    }
    fs.writeSync(log, JSON.stringify(said) + '\n');
    res.set('x-app', name).json({ ran: what });
  };
}

const asset = '/api/v5/asset';
app.post(`${asset}/withdrawal`, run('withdrawal'));
app.post(`${asset}/withdrawal-form`, run('withdrawal'));
app.post(`${asset}/withdrawal-query`, run('withdrawal'));
app.get(`${asset}/withdrawal-get`, run('withdrawal'));
app.put(`${asset}/withdrawal-put`, run('withdrawal'));
app.post(`${asset}/:ccy/withdrawal-to`, run('withdrawal'));
app.get(`${asset}/balances`, run('neighbour'));
app.post(`${asset}/deposit-note`, run('neighbour'));
app.post('/api/v5/trade/order', run('neighbour'));
app.put('/api/v5/trade/order', run('neighbour'));
app.get('/api/v5/market/ticker', run('neighbour'));
app.use((req, res) => res.status(404).set('x-app', name).end());
app.use((error, req, res, next) => res.status(error.status || 500).set('x-app', name).end());
app.listen(Number(process.env.PORT), '127.0.0.1');
