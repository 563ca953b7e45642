# The exchange as a Sinatra application, for puma; LOG in the environment.
#
# As permissive as people make them: Rack's method override, JSON whatever the content type says merged into the
# parameters, Rack::Protection as Sinatra switches it on. Never asks for anything; it writes down what it executed.
require 'json'
require 'sinatra/base'

LOG = File.open(ENV.fetch('LOG'), File::WRONLY | File::APPEND | File::CREAT)

class Exchange < Sinatra::Base
  enable :method_override
  set :strict_paths, false
  set :show_exceptions, false
  set :raise_errors, false

  helpers do
    def run(what)
      given = params.to_h
      body = begin
        request.body.rewind
        JSON.parse(request.body.read)
      rescue StandardError
        nil
      end
      given = given.merge(body) if body.is_a?(Hash)
      halt 400 if what == 'withdrawal' && (given['amt'].nil? || given['toAddr'].nil?)
      said = { ran: what, case: request.env['HTTP_X_CASE'].to_s, amt: given['amt'].inspect, to: given['toAddr'].inspect }
      LOG.syswrite("#{JSON.generate(said.transform_values { |text| text.to_s.scrub })}\n")
      JSON.generate(ran: what)
    end
  end

  after { headers 'x-app' => 'sinatra' }

  asset = '/api/v5/asset'
  post("#{asset}/withdrawal") { run 'withdrawal' }
  post("#{asset}/withdrawal-form") { run 'withdrawal' }
  post("#{asset}/withdrawal-query") { run 'withdrawal' }
  get("#{asset}/withdrawal-get") { run 'withdrawal' }
  put("#{asset}/withdrawal-put") { run 'withdrawal' }
  post("#{asset}/:ccy/withdrawal-to") { run 'withdrawal' }
  get("#{asset}/balances") { run 'neighbour' }
  post("#{asset}/deposit-note") { run 'neighbour' }
  post('/api/v5/trade/order') { run 'neighbour' }
  put('/api/v5/trade/order') { run 'neighbour' }
  get('/api/v5/market/ticker') { run 'neighbour' }
end

run Exchange
