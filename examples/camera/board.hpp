// How warm a board is, and whether it runs slower than it could; in words, also where not known.
#pragma once

#include <string>

std::string board_text(const std::string &sys);
