// The temperature of a board and whether it has lowered its clock, in words ("not known" if unknown).
#pragma once

#include <string>

std::string board_text(const std::string &sys);
