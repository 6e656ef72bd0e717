// Checks of the native tests: a failed one prints where and what, the test goes on, and main returns report().
#pragma once

#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

namespace pn::test {

// Sanitizers make a test about ten times slower: what takes the same code through larger sizes or more steps is left to
// the build without them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

inline int& failures() {
  static int count = 0;
  return count;
}

inline void fail(const char* file, int line, const std::string& what) {
  std::cerr << file << ':' << line << ": " << what << '\n';
  ++failures();
}

template <class Actual, class Expected>
void check_equal(const Actual& actual, const Expected& expected, const char* file, int line, const char* actual_text,
                 const char* expected_text) {
  if (actual == expected) return;
  std::ostringstream what;
  what << actual_text << " is " << actual << ", not " << expected_text << " = " << expected;
  fail(file, line, what.str());
}

// The exit status of a test program.
inline int report() {
  if (failures() != 0) std::cerr << failures() << " check(s) failed\n";
  return failures() == 0 ? 0 : 1;
}

}  // namespace pn::test

#define CHECK(condition)                                                                    \
  do {                                                                                      \
    if (!(condition)) ::pn::test::fail(__FILE__, __LINE__, "CHECK(" #condition ") failed"); \
  } while (false)

#define CHECK_EQ(actual, expected) ::pn::test::check_equal(actual, expected, __FILE__, __LINE__, #actual, #expected)

// The statement throws an Exception whose message contains the text.
#define CHECK_THROWS(statement, Exception, text)                                                       \
  do {                                                                                                 \
    try {                                                                                              \
      statement;                                                                                       \
      ::pn::test::fail(__FILE__, __LINE__, #statement " did not throw");                               \
    } catch (const Exception& check_error) {                                                           \
      if (std::string_view(check_error.what()).find(text) == std::string_view::npos) {                 \
        ::pn::test::fail(__FILE__, __LINE__, std::string(#statement " threw: ") + check_error.what()); \
      }                                                                                                \
    }                                                                                                  \
  } while (false)
