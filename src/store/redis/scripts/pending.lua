-- A factor that waits to be enrolled: {factor, secret, label, language ('=' before it), list of recovery codes}.

-- What a challenge's answer is compared with, and what is enrolled if it is right: as records of factors are.
local function enrolled_of(pending, step)
  return {
    pending[1], pending[2], pending[3], digits(now), '0', step, digits(now + FACTOR_HOLD_MS), '', pending[4],
  }
end
