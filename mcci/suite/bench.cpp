#include "mcci/suite/bench.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <unistd.h>
#include <utility>

#include "mcci/core/error.hpp"
#include "mcci/core/files.hpp"
#include "mcci/core/interrupt.hpp"
#include "mcci/core/log.hpp"
#include "mcci/core/progress.hpp"
#include "mcci/report/report.hpp"
#include "mcci/suite/collection.hpp"
#include "mcci/suite/processes.hpp"
#include "mcci/suite/work.hpp"

namespace mcci {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds poll_interval(20);
constexpr std::chrono::seconds progress_interval(1);
constexpr std::chrono::seconds report_interval(60);
constexpr double unknown = -1;

void make_folder(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure)
    throw Error(ErrorKind::io, "cannot create the folder (" + failure.message() + ")", folder.string());
}

// Seconds that units take, as far as finished ones tell.
class Estimate {
 public:
  void add(const Unit& unit, double seconds) {
    for (const std::string& kind : kinds_of(unit)) {
      sums_[kind].first += seconds;
      sums_[kind].second += 1;
    }
  }
  // Of the most similar finished units; `unknown` if there are none.
  double of(const Unit& unit) const {
    for (const std::string& kind : kinds_of(unit)) {
      const auto found = sums_.find(kind);
      if (found != sums_.end()) return found->second.first / found->second.second;
    }
    return unit.kind == Unit::Kind::cell ? unknown : 0;  // poisoning is short beside training
  }

 private:
  static std::vector<std::string> kinds_of(const Unit& unit) {
    if (unit.kind == Unit::Kind::oracle) return {"oracle"};
    if (unit.kind == Unit::Kind::poison) {
      return {"poison " + unit.dataset_label + " " + unit.attack_label, "poison " + unit.dataset_label};
    }
    const std::string defense = unit.defense_label + " " + unit.run.value("preset", "");
    const std::string problem = " on " + unit.dataset_label + " " + unit.model_label;
    return {"train " + defense + problem, "train" + problem, "train " + defense, "train"};
  }

  std::map<std::string, std::pair<double, double>> sums_;
};

// A grid at work in its folder.
class Bench {
 public:
  Bench(Plan plan, const BenchOptions& options, std::string command)
      : plan_(std::move(plan)), options_(options), files_{options.out}, command_(std::move(command)) {
    for (std::size_t i = 0; i < plan_.tasks.size(); ++i) index_[plan_.tasks[i].unit.key] = i;
    states_.resize(plan_.tasks.size(), State::todo);
    needed_by_.resize(plan_.tasks.size());
    for (std::size_t i = 0; i < plan_.tasks.size(); ++i) {
      for (const std::string& key : plan_.tasks[i].needs) needed_by_[at(key)].push_back(i);
    }
  }

  // What was done before, here or elsewhere.
  void recall();
  Json run();
  void list(std::ostream& out) const;

 private:
  enum class State { todo, running, done, failed };

  std::size_t at(const std::string& key) const { return index_.at(key); }
  const Unit& unit(std::size_t i) const { return plan_.tasks[i].unit; }
  bool is_poison(std::size_t i) const { return unit(i).kind == Unit::Kind::poison; }
  bool open(std::size_t i) const { return states_[i] == State::todo || states_[i] == State::running; }
  void learn(const std::map<std::string, Outcome>& elsewhere);
  bool all_needs_are(std::size_t i, State state) const;
  bool wanted(std::size_t poison) const;

  void fail(std::size_t i, const std::string& error);
  void settle_all();
  void start_ready(ProcessPool& pool);
  void finish(const ProcessPool::Ended& ended);
  void say(std::size_t i) const;
  void release(std::size_t i);
  void remove_leftovers() const;
  bool left_something(const std::string& key) const {
    return fs::exists(files_.outcome(key)) || fs::exists(files_.poisoned(key));
  }
  void write(bool report);
  void stop(ProcessPool& pool);
  double seconds_left(const ProcessPool* pool) const;
  std::int64_t count_cells(State state) const;
  std::int64_t settled_cells() const { return count_cells(State::done) + count_cells(State::failed); }

  Plan plan_;
  const BenchOptions& options_;
  BenchFiles files_;
  std::string command_;
  std::map<std::string, std::size_t> index_;
  std::vector<State> states_;
  std::vector<std::vector<std::size_t>> needed_by_;
  std::map<std::string, Outcome> outcomes_;
  Estimate estimate_;
  Json result_;
  Clock::time_point last_report_;
};

void Bench::recall() {
  for (std::size_t i = 0; i < plan_.tasks.size(); ++i) {
    const fs::path file = files_.outcome(unit(i).key);
    if (is_poison(i) && fs::exists(files_.poisoned(unit(i).key))) states_[i] = State::done;
    if (!fs::exists(file)) continue;
    try {
      Outcome outcome = read_outcome(file, unit(i).key);
      if (!outcome.error.empty() && options_.retry_failed) continue;
      states_[i] = outcome.error.empty() ? State::done : State::failed;
      if (outcome.error.empty()) estimate_.add(unit(i), outcome.seconds);
      outcomes_[unit(i).key] = std::move(outcome);
    } catch (const Error& error) {
      log_warning("run again: " + std::string(error.what()));
    }
  }
  if (!options_.known.empty()) {
    learn(outcomes_of(plan_, read_json(options_.known), options_.known.string()));
  }
  settle_all();
}

void Bench::learn(const std::map<std::string, Outcome>& elsewhere) {
  for (std::size_t i = 0; i < plan_.tasks.size(); ++i) {
    const auto found = elsewhere.find(unit(i).key);
    if (states_[i] != State::todo || found == elsewhere.end()) continue;
    states_[i] = State::done;
    outcomes_[unit(i).key] = found->second;
  }
  // An oracle that is still to be measured needs the clean model, which is not here.
  for (std::size_t i = 0; i < plan_.tasks.size(); ++i) {
    if (states_[i] != State::todo || unit(i).kind != Unit::Kind::oracle) continue;
    for (const std::string& key : plan_.tasks[i].needs) {
      const bool trained = is_poison(at(key)) || fs::exists(files_.model(unit(at(key)).model));
      if (!trained) states_[at(key)] = State::todo;
    }
  }
}

bool Bench::all_needs_are(std::size_t i, State state) const {
  const std::vector<std::string>& needs = plan_.tasks[i].needs;
  return std::all_of(needs.begin(), needs.end(), [&](const auto& key) { return states_[at(key)] == state; });
}

// Whether a unit that is still to be done needs this poisoned set.
bool Bench::wanted(std::size_t poison) const {
  const std::vector<std::size_t>& users = needed_by_[poison];
  return std::any_of(users.begin(), users.end(), [&](std::size_t i) { return open(i); });
}

void Bench::fail(std::size_t i, const std::string& error) {
  states_[i] = State::failed;
  Outcome outcome;
  outcome.error = error;
  outcomes_[unit(i).key] = std::move(outcome);
}

// A unit whose need has failed has failed too. That is no outcome of its own: nothing is written of it.
void Bench::settle_all() {
  for (std::size_t i = 0; i < plan_.tasks.size(); ++i) {
    if (states_[i] != State::todo) continue;
    for (const std::string& key : plan_.tasks[i].needs) {
      if (states_[at(key)] != State::failed) continue;
      fail(i, unit(at(key)).title + ": " + outcomes_.at(key).error);
      break;
    }
  }
}

void Bench::start_ready(ProcessPool& pool) {
  for (std::size_t i = 0; i < plan_.tasks.size() && !pool.full(); ++i) {
    if (states_[i] != State::todo || !all_needs_are(i, State::done)) continue;
    if (is_poison(i) && !wanted(i)) continue;
    write_json(files_.unit(unit(i).key), unit(i).to_json());
    std::vector<std::string> command = options_.worker;
    command.push_back(files_.unit(unit(i).key).string());
    command.push_back(std::to_string(::getpid()));
    if (quiet()) command.emplace_back("--quiet");
    if (options_.show_training) log_info(unit(i).title);
    std::error_code ignored;
    fs::remove(files_.outcome(unit(i).key), ignored);  // a failure that is tried again
    pool.start(command, options_.show_training ? fs::path() : files_.log(unit(i).key), unit(i).key);
    states_[i] = State::running;
  }
}

void Bench::finish(const ProcessPool::Ended& ended) {
  const std::size_t i = at(ended.name);
  const bool left_set = is_poison(i) && fs::exists(files_.poisoned(ended.name));
  const fs::path file = files_.outcome(ended.name);
  if (left_set) {
    states_[i] = State::done;
  } else if (fs::exists(file)) {
    outcomes_[ended.name] = read_outcome(file, ended.name);
    states_[i] = outcomes_[ended.name].error.empty() ? State::done : State::failed;
    if (states_[i] == State::done) estimate_.add(unit(i), outcomes_[ended.name].seconds);
  } else {
    std::string error = "its process " + describe_exit(ended.status);
    if (describe_exit(ended.status).find("signal 9") != std::string::npos) {
      error += "; if memory ran out, use fewer --jobs";
    }
    fail(i, error);
    write_outcome(file, unit(i), outcomes_[ended.name]);
  }
  settle_all();
  release(i);
  say(i);
}

void Bench::say(std::size_t i) const {
  const auto outcome = outcomes_.find(unit(i).key);
  if (states_[i] == State::failed) return log_warning(unit(i).title + ": failed: " + outcome->second.error);
  if (unit(i).kind != Unit::Kind::cell) return;
  const Json& cell = outcome->second.cell;
  const auto figure = [&](const char* name, const char* key) {
    return cell.value(key, Json()).is_null() ? "" : std::string(", ") + name + " " + cell[key].dump();
  };
  log_info(unit(i).title + ": done in " + format_duration(outcome->second.seconds) + figure("CA", "ca") +
           figure("ASR", "asr") + figure("PA", "pa"));
}

// Removes what the unit was the last to need.
void Bench::release(std::size_t i) {
  std::error_code ignored;
  const Unit& ended = unit(i);
  const bool undefended = ended.run.value("defense", "") == "none";
  const bool used = std::any_of(needed_by_[i].begin(), needed_by_[i].end(), [&](std::size_t user) {
    return unit(user).model == ended.model && open(user);
  });
  if (ended.kind == Unit::Kind::cell && !undefended && !used && !options_.keep_models &&
      states_[i] == State::done) {
    fs::remove_all(files_.model(ended.model), ignored);
  }
  const auto poison = index_.find(ended.poisoned);
  if (poison != index_.end() && !options_.keep_poisoned && !wanted(poison->second)) {
    fs::remove_all(files_.poisoned(ended.poisoned), ignored);
  }
}

// Half-written sets of a run that was killed.
void Bench::remove_leftovers() const {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(files_.poisoned(""), ignored)) {
    if (entry.path().filename().string().rfind('.', 0) == 0) fs::remove_all(entry.path(), ignored);
  }
}

void Bench::write(bool report) {
  result_ = collect(plan_, outcomes_, command_, options_.shard);
  write_json(files_.result(), result_);
  if (!report && Clock::now() - last_report_ < report_interval) return;
  write_report(files_.result(), files_.report());
  last_report_ = Clock::now();
}

void Bench::stop(ProcessPool& pool) {
  log_info("stopping: waiting for " + std::to_string(pool.running()) + " units to save their state");
  pool.interrupt();
  while (pool.running() > 0) {
    const auto ended = pool.poll();
    if (!ended) {
      std::this_thread::sleep_for(poll_interval);
    } else if (left_something(ended->name)) {
      finish(*ended);
    }
  }
  write(/*report=*/true);
  throw Error(ErrorKind::interrupted,
              "the grid was interrupted with " + std::to_string(settled_cells()) + " of " +
                  std::to_string(settled_cells() + count_cells(State::todo) + count_cells(State::running)) +
                  " cells finished",
              options_.out.string(), "the same command goes on where it was");
}

std::int64_t Bench::count_cells(State state) const {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < plan_.tasks.size(); ++i) {
    count += unit(i).kind == Unit::Kind::cell && states_[i] == state ? 1 : 0;
  }
  return count;
}

// Of the whole grid; `unknown` before the first cell of any kind.
double Bench::seconds_left(const ProcessPool* pool) const {
  double total = 0;
  std::map<std::string, double> elapsed;
  if (pool != nullptr) {
    for (const ProcessPool::Running& running : pool->names()) elapsed[running.name] = running.seconds;
  }
  for (std::size_t i = 0; i < plan_.tasks.size(); ++i) {
    if (!open(i) || (is_poison(i) && !wanted(i))) continue;
    const double whole = estimate_.of(unit(i));
    if (whole == unknown) return unknown;
    total += std::max(0.0, whole - (states_[i] == State::running ? elapsed[unit(i).key] : 0));
  }
  return total / static_cast<double>(std::max<std::int64_t>(options_.jobs, 1));
}

Json Bench::run() {
  for (const char* folder : {"poisoned", "models", "cells", "units"}) make_folder(files_.folder / folder);
  remove_leftovers();
  const std::int64_t settled = settled_cells();
  const std::int64_t total = settled + count_cells(State::todo);
  ProcessPool pool(static_cast<std::size_t>(options_.jobs));
  std::optional<Progress> progress;
  if (!options_.show_training) {
    progress.emplace(plan_.title, total, "cells");
    progress->start_at(settled);
  }
  std::int64_t shown = settled;
  auto next_progress = Clock::now();
  start_ready(pool);
  while (pool.running() > 0) {
    if (interrupt_requested()) stop(pool);
    if (const auto ended = pool.poll()) {
      if (interrupt_requested() && !left_something(ended->name)) continue;
      finish(*ended);
      write(/*report=*/false);
      start_ready(pool);
      next_progress = Clock::now();
    } else {
      std::this_thread::sleep_for(poll_interval);
    }
    if (!progress || Clock::now() < next_progress) continue;
    next_progress = Clock::now() + progress_interval;
    const std::int64_t failed = count_cells(State::failed);
    progress->set_note(std::to_string(pool.running()) + " running" +
                       (failed > 0 ? ", " + std::to_string(failed) + " failed" : ""));
    progress->set_eta(seconds_left(&pool));
    progress->advance(settled_cells() - std::exchange(shown, settled_cells()));
  }
  if (interrupt_requested()) stop(pool);
  progress.reset();
  write(/*report=*/true);
  return result_;
}

void Bench::list(std::ostream& out) const {
  for (std::size_t i = 0; i < plan_.tasks.size(); ++i) {
    if (unit(i).kind != Unit::Kind::cell) continue;
    const bool known = states_[i] == State::done || states_[i] == State::failed;
    out << (states_[i] == State::done ? "done    "
            : known                   ? "failed  "
                                      : "to do   ")
        << unit(i).key.substr(0, 12) << "  " << unit(i).title
        << (plan_.tasks[i].listed ? "" : " (for the oracle only)") << "\n";
  }
  const double left = seconds_left(nullptr);
  out << settled_cells() << " of " << settled_cells() + count_cells(State::todo) << " cells are finished"
      << (count_cells(State::todo) == 0 ? ""
          : left == unknown             ? "; how long the rest takes is known after the first"
                                        : "; the rest takes about " + format_duration(left))
      << "\n";
}

Plan plan_for(const Grid& grid, const BenchOptions& options) {
  std::vector<DataIdentity> identities;
  for (const GridData& data : grid.data) identities.push_back(identify(data));
  return take_shard(plan_grid(grid, identities), options.shard);
}

}  // namespace

Json run_bench(const Grid& grid, const BenchOptions& options, const std::string& command) {
  BenchOptions absolute = options;
  absolute.out = fs::absolute(options.out).lexically_normal();
  make_folder(absolute.out);
  const FolderLock lock(BenchFiles{absolute.out}.lock());
  Bench bench(plan_for(grid, absolute), absolute, command);
  bench.recall();
  return bench.run();
}

void list_bench(const Grid& grid, const BenchOptions& options, std::ostream& out) {
  Bench bench(plan_for(grid, options), options, "");
  bench.recall();
  bench.list(out);
}

void run_unit_process(const fs::path& unit_file, std::int64_t parent) {
  end_with_parent(static_cast<pid_t>(parent));
  const Unit unit = Unit::from_json(read_json(unit_file), unit_file.string());
  run_unit(unit, BenchFiles{unit_file.parent_path().parent_path()});
}

Json merge_benches(const std::vector<fs::path>& parts, const fs::path& out, const std::string& command) {
  const BenchFiles merged{out};
  if (fs::exists(merged.result())) {
    throw Error(ErrorKind::usage, "the folder holds a result already", out.string(), "name another --out");
  }
  std::vector<Json> results;
  std::vector<std::string> names;
  for (const fs::path& part : parts) {
    names.push_back(BenchFiles{part}.result().string());
    results.push_back(read_json(names.back()));
  }
  const Json result = merge_results(results, names, command);
  make_folder(out / "figures");
  for (const fs::path& part : parts) {
    std::error_code failure;
    if (!fs::exists(part / "figures", failure)) continue;
    fs::copy(part / "figures", out / "figures",
             fs::copy_options::recursive | fs::copy_options::overwrite_existing, failure);
    if (failure)
      throw Error(ErrorKind::io, "cannot be copied (" + failure.message() + ")", (part / "figures").string());
  }
  write_json(merged.result(), result);
  write_report(merged.result(), merged.report());
  return result;
}

}  // namespace mcci
