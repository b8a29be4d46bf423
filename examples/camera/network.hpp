// Gives the functions of the compiled network names that do not depend on the network's name, and
// describes its picture input.
//
// CMake gives NETWORK (its name), NETWORK_HEADER and NETWORK_LABELS (file names).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <type_traits>

#include NETWORK_HEADER

#define NETWORK_JOIN_(a, b) a##b
#define NETWORK_JOIN(a, b) NETWORK_JOIN_(a, b)
#define NET(rest) NETWORK_JOIN(NETWORK, rest) // NET(_init) is digits_init

#if __has_include(NETWORK_LABELS)
#include NETWORK_LABELS
#define NETWORK_HAS_LABELS 1
#endif

// The network's header defines the scale and zero point of the scores only if they are integers. If a
// macro is not defined, converting it to a string gives its name, which is not a number.
#define NETWORK_TEXT_(text) #text
#define NETWORK_TEXT(text) NETWORK_TEXT_(text)

inline double number_or(const char *text, double otherwise)
{
    char *end = nullptr;
    const double value = std::strtod(text, &end);
    return end == text ? otherwise : value;
}

// The real score is SCALE * (stored - ZERO_POINT).
inline const double SCORE_SCALE = number_or(NETWORK_TEXT(NET(_OUTPUT0_SCALE)), 1.0);
inline const double SCORE_ZERO_POINT = number_or(NETWORK_TEXT(NET(_OUTPUT0_ZERO_POINT)), 0.0);

using Element = NET(_INPUT0_TYPE);
using Score = NET(_OUTPUT0_TYPE);

constexpr int ROWS = NET(_INPUT0_ROWS);
constexpr int COLUMNS = NET(_INPUT0_COLUMNS);
constexpr int CHANNELS = NET(_INPUT0_CHANNELS);
constexpr int CLASSES = NET(_OUTPUT0_SIZE);

static_assert(NET(_INPUT_COUNT) == 1 && NET(_OUTPUT_COUNT) == 1, "one picture in, one list out");
static_assert(std::is_same_v<Element, std::uint8_t> || std::is_same_v<Element, std::int8_t>,
    "compile the network so that it takes pixels: ellc compile MODEL --preprocess ...");
static_assert(CHANNELS == 1 || CHANNELS == 3, "compile the network with --layout nhwc");
