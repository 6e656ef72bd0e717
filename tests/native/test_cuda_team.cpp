// The check of teams that runs on the device, on the host: right teams pass, and one with a fault is told by its name.
#include <cstdint>
#include <memory>
#include <string>

#include "check.hpp"
#include "cuda/device/team_check.hpp"
#include "thread_team.hpp"

namespace {

using namespace pn::cuda;
using pn::test::ThreadTeam;

std::string faults_of(const TeamCheckMemory& memory) {
  std::string found;
  for (int method = 0; method < kTeamMethods; ++method) {
    if (memory.faults[method] != 0) found += std::string(found.empty() ? "" : " ") + kTeamMethodNames[method];
  }
  return found;
}

// Bytes of the memory before: nobody may rely on what is there.
std::unique_ptr<TeamCheckMemory> memory_of_garbage() {
  auto memory = std::make_unique<TeamCheckMemory>();
  for (std::int32_t& fault : memory->faults) fault = 77;
  for (std::int32_t& hit : memory->hits) hit = -1;
  memory->marks[0] = memory->marks[1] = 3;
  return memory;
}

template <class Team>
std::string checked(const Team& team) {
  const auto memory = memory_of_garbage();
  TeamCheck<Team>(team, *memory).run();
  return faults_of(*memory);
}

void test_right_teams() {
  for (const bool backward : {false, true}) CHECK_EQ(checked(HostTeam(4, backward)), std::string());
  for (const int threads : {pn::test::kWarp, 2 * pn::test::kWarp}) {
    const auto memory = memory_of_garbage();
    pn::test::launch_threads(1, threads,
                             [&](const ThreadTeam& team, int) { TeamCheck<ThreadTeam>(team, *memory).run(); });
    CHECK_EQ(faults_of(*memory), std::string());
  }
}

struct WrongForEach : HostTeam {
  template <class Index, class Body>
  void for_each(Index n, Body body) const {
    for (Index i = 0; i < n; ++i) body(i == 1001 ? Index(1000) : i);
  }
};
struct WrongOne : HostTeam {
  template <class Body>
  void one(Body body) const {
    if (calls++ != 2) body();
  }
  mutable int calls = 0;
};
struct WrongTotal : HostTeam {
  double total(double mine) const { return mine - 1.0; }
};
struct WrongMost : HostTeam {
  double most(double mine) const { return mine != mine ? 0.0 : mine; }
};
struct WrongAny : HostTeam {
  template <class Index, class Test>
  bool any(Index n, Test test) const {
    return HostTeam::any(n - 1, test);
  }
};
struct WrongScan : HostTeam {
  template <class Integer>
  Integer exclusive_scan(Integer* values, std::int32_t n) const {
    const Integer sum = HostTeam::exclusive_scan(values, n);
    if (n > 32) values[32] += 1;  // the second warp's
    return sum;
  }
};
struct WrongRowSums : HostTeam {
  template <class Index, class Term, class Done>
  void row_sums(Index rows, std::int32_t columns, Term term, Done done) const {
    HostTeam::row_sums(rows, columns < 33 ? columns : 32, term, done);
  }
};
struct WrongAdd : HostTeam {
  void add(std::int64_t* to, std::int64_t value) const { *to += static_cast<std::int32_t>(value); }
  void add(std::int32_t* to, std::int32_t value) const { *to += value; }
};
struct WrongMark : HostTeam {
  void mark(std::int32_t* to) const { *to = 2; }
};

void test_wrong_teams() {
  CHECK(checked(WrongForEach()).find("for_each") == 0);  // on which others rest
  CHECK_EQ(checked(WrongOne()), std::string("one"));
  CHECK_EQ(checked(WrongTotal()), std::string("total"));
  CHECK_EQ(checked(WrongMost()), std::string("most"));
  CHECK_EQ(checked(WrongAny()), std::string("any"));
  CHECK_EQ(checked(WrongScan()), std::string("exclusive_scan"));
  CHECK_EQ(checked(WrongRowSums()), std::string("row_sums"));
  CHECK_EQ(checked(WrongAdd()), std::string("add"));
  CHECK_EQ(checked(WrongMark()), std::string("mark"));
}

}  // namespace

int main() {
  test_right_teams();
  test_wrong_teams();
  return pn::test::report();
}
